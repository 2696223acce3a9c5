// A reader for flattened devicetrees (Devicetree specification, chapter 5). The tree, whose
// address firmware gets in a1, is the only place that knows where things are.
#pragma once

#include "types.h"

enum { FDT_DEPTH = 16 };

struct fdt_node {
    const char *name;
    int depth;  // the root's is 0
    u32 address_cells, size_cells;  // how the node's own reg is written: its parent says
    const u32 *properties;
    const char *strings;
};

struct fdt_cursor {
    const u32 *at;
    const char *strings;
    int depth;
    u32 address_cells[FDT_DEPTH], size_cells[FDT_DEPTH];  // for the children of each open node
};

struct fdt_region {
    u64 base, size;
};

bool fdt_valid(const void *fdt);
struct fdt_cursor fdt_start(const void *fdt);
// The next node in the order of the file; false at the end.
bool fdt_next(struct fdt_cursor *cursor, struct fdt_node *node);

// A property's value, or null; its length when `length` is not null.
const void *fdt_property(const struct fdt_node *node, const char *name, u32 *length);
const char *fdt_string(const struct fdt_node *node, const char *name);
u32 fdt_u32(const struct fdt_node *node, const char *name, u32 otherwise);
bool fdt_is_compatible(const struct fdt_node *node, const char *compatible);
bool fdt_is_enabled(const struct fdt_node *node);
bool fdt_has_type(const struct fdt_node *node, const char *device_type);
// Entry `index` of the node's reg. Buses are taken to map one to one (an empty `ranges`).
bool fdt_reg(const struct fdt_node *node, u32 index, struct fdt_region *region);

// The first enabled node that is compatible; false when there is none.
bool fdt_find(const void *fdt, const char *compatible, struct fdt_node *node);
bool fdt_find_phandle(const void *fdt, u32 phandle, struct fdt_node *node);
