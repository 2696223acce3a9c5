// What rvvm runs when nothing is named: it looks around in the machine and says how to go on.

#include "console.h"
#include "csr.h"
#include "fdt.h"
#include "power.h"

static void print_isa(u64 misa)
{
    put_text("rv64");
    // Canonical order of the unprivileged spec's naming chapter, as far as misa has letters.
    for (const char *letter = "iemafdqcbvhsu"; *letter; letter++)
        if (misa & BIT(*letter - 'a'))
            put_char(*letter);
}

static void print_size(u64 bytes)
{
    static const char units[] = "KMGT";
    u32 unit = 0;
    for (bytes >>= 10; bytes >= 1024 && bytes % 1024 == 0 && units[unit + 1]; bytes >>= 10)
        unit++;
    print("%lu %ciB", bytes, units[unit]);
}

static void print_board(const struct fdt_node *root)
{
    const char *model = fdt_string(root, "model");
    print("  board     %s\n", model ? model : "without a name");
}

static void print_memory(const struct fdt_node *node)
{
    struct fdt_region reg;
    for (u32 index = 0; fdt_reg(node, index, &reg); index++) {
        put_text("  memory    ");
        print_size(reg.size);
        print(" at 0x%lx\n", reg.base);
    }
}

static void print_device(const struct fdt_node *node)
{
    struct fdt_region reg;
    const char *compatible = fdt_string(node, "compatible");
    if (compatible && fdt_reg(node, 0, &reg))
        print("  device    %s at 0x%lx\n", compatible, reg.base);
}

static void look_around(const void *fdt)
{
    struct fdt_cursor cursor = fdt_start(fdt);
    struct fdt_node node;
    u32 harts = 0;
    while (fdt_next(&cursor, &node)) {
        if (!fdt_is_enabled(&node))
            continue;
        if (node.depth == 0)
            print_board(&node);
        else if (fdt_has_type(&node, "cpu"))
            harts++;
        else if (fdt_has_type(&node, "memory"))
            print_memory(&node);
        else
            print_device(&node);
    }
    u64 misa = csr_read(misa);
    print("  harts     %u: ", harts);
    print_isa(misa);
    print(" (misa 0x%lx)\n", misa);
}

int main(u64 hart, const void *fdt)
{
    if (!fdt_valid(fdt))
        return 1;  // nothing says where a console is
    console_open(fdt);
    power_open(fdt);
    print("\nHello! This is firmware/hello, in M-mode on hart %lu. The devicetree says:\n\n", hart);
    look_around(fdt);
    put_text("\nTo go on:\n"
             "  rvvm debian       Debian's kernel and a shell\n"
             "  rvvm images       what else can be named\n"
             "  rvvm --help       everything\n\n");
    return 0;
}
