#include "fdt.h"

enum { MAGIC = 0xd00dfeed };
enum token { BEGIN_NODE = 1, END_NODE = 2, PROP = 3, NOP = 4, END = 9 };
enum { HEADER_MAGIC = 0, HEADER_STRUCT = 2, HEADER_STRINGS = 3 };  // in words

static u32 word(const u32 *at)
{
    return big_endian_32(at);
}

static const u32 *after_text(const u32 *at)
{
    const char *text = (const char *)at;
    while (*text)
        text++;
    return at + (text + 1 - (const char *)at + 3) / 4;
}

// A property is: PROP, length, offset of its name, value padded to words.
static const u32 *after_property(const u32 *at)
{
    return at + 3 + (word(at + 1) + 3) / 4;
}

bool fdt_valid(const void *fdt)
{
    return fdt && big_endian_32(fdt) == MAGIC;
}

struct fdt_cursor fdt_start(const void *fdt)
{
    const u32 *header = fdt;
    return (struct fdt_cursor){
        .at = (const u32 *)((const char *)fdt + word(header + HEADER_STRUCT)),
        .strings = (const char *)fdt + word(header + HEADER_STRINGS),
    };
}

static void open_node(struct fdt_cursor *cursor, struct fdt_node *node)
{
    int depth = cursor->depth;
    *node = (struct fdt_node){
        .name = (const char *)(cursor->at + 1),
        .depth = depth,
        .address_cells = depth ? cursor->address_cells[depth - 1] : 2,
        .size_cells = depth ? cursor->size_cells[depth - 1] : 1,
        .properties = after_text(cursor->at + 1),
        .strings = cursor->strings,
    };
    // Devicetree specification 2.3.5: the defaults are 2 and 1, and are not inherited.
    cursor->address_cells[depth] = fdt_u32(node, "#address-cells", 2);
    cursor->size_cells[depth] = fdt_u32(node, "#size-cells", 1);
    cursor->at = node->properties;
    cursor->depth++;
}

bool fdt_next(struct fdt_cursor *cursor, struct fdt_node *node)
{
    for (;;) {
        switch (word(cursor->at)) {
        case NOP:
            cursor->at++;
            break;
        case PROP:
            cursor->at = after_property(cursor->at);
            break;
        case END_NODE:
            cursor->at++;
            cursor->depth--;
            break;
        case BEGIN_NODE:
            if (cursor->depth == FDT_DEPTH)
                return false;
            open_node(cursor, node);
            return true;
        default:
            return false;
        }
    }
}

const void *fdt_property(const struct fdt_node *node, const char *name, u32 *length)
{
    const u32 *at = node->properties;
    for (;; at = word(at) == PROP ? after_property(at) : at + 1) {
        if (word(at) == PROP && same_text(node->strings + word(at + 2), name)) {
            if (length)
                *length = word(at + 1);
            return at + 3;
        }
        if (word(at) != PROP && word(at) != NOP)
            return NULL;
    }
}

const char *fdt_string(const struct fdt_node *node, const char *name)
{
    return fdt_property(node, name, NULL);
}

u32 fdt_u32(const struct fdt_node *node, const char *name, u32 otherwise)
{
    const u32 *value = fdt_property(node, name, NULL);
    return value ? word(value) : otherwise;
}

bool fdt_is_compatible(const struct fdt_node *node, const char *compatible)
{
    u32 length = 0;
    const char *text = fdt_property(node, "compatible", &length);
    const char *end = text + length;
    while (text && text < end) {
        if (same_text(text, compatible))
            return true;
        while (*text++)
            ;
    }
    return false;
}

bool fdt_is_enabled(const struct fdt_node *node)
{
    const char *status = fdt_string(node, "status");
    return !status || same_text(status, "okay") || same_text(status, "ok");
}

bool fdt_has_type(const struct fdt_node *node, const char *device_type)
{
    const char *type = fdt_string(node, "device_type");
    return type && same_text(type, device_type);
}

static u64 cells(const u32 *at, u32 count)
{
    u64 value = 0;
    while (count--)
        value = value << 32 | word(at++);
    return value;
}

bool fdt_reg(const struct fdt_node *node, u32 index, struct fdt_region *region)
{
    u32 length = 0, entry = node->address_cells + node->size_cells;
    const u32 *reg = fdt_property(node, "reg", &length);
    if (!reg || (index + 1) * entry * sizeof(u32) > length)
        return false;
    reg += index * entry;
    region->base = cells(reg, node->address_cells);
    region->size = cells(reg + node->address_cells, node->size_cells);
    return true;
}

bool fdt_find(const void *fdt, const char *compatible, struct fdt_node *node)
{
    struct fdt_cursor cursor = fdt_start(fdt);
    while (fdt_next(&cursor, node))
        if (fdt_is_compatible(node, compatible) && fdt_is_enabled(node))
            return true;
    return false;
}

bool fdt_find_phandle(const void *fdt, u32 phandle, struct fdt_node *node)
{
    struct fdt_cursor cursor = fdt_start(fdt);
    while (fdt_next(&cursor, node))
        if (fdt_u32(node, "phandle", 0) == phandle)
            return true;
    return false;
}
