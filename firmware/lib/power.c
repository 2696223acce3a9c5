#include "power.h"

#include "fdt.h"
#include "htif.h"

// SiFive's test finisher: what to write to pass, and to fail with a status above it.
enum { FINISHER_PASS = 0x5555, FINISHER_FAIL = 0x3333, FINISHER_STATUS_SHIFT = 16 };

static volatile u32 *finisher;
static volatile u32 *poweroff;
static u32 poweroff_value;
static bool htif;

// The generic way (syscon-poweroff): a register in another node, and what to write there.
static void open_syscon(const void *fdt)
{
    struct fdt_node node, regmap;
    struct fdt_region reg;
    if (!fdt_find(fdt, "syscon-poweroff", &node))
        return;
    if (fdt_find_phandle(fdt, fdt_u32(&node, "regmap", 0), &regmap) && fdt_reg(&regmap, 0, &reg)) {
        poweroff = (volatile u32 *)(reg.base + fdt_u32(&node, "offset", 0));
        poweroff_value = fdt_u32(&node, "value", 0);
    }
}

void power_open(const void *fdt)
{
    struct fdt_node node;
    struct fdt_region reg;
    if (fdt_find(fdt, "sifive,test0", &node) && fdt_reg(&node, 0, &reg))
        finisher = (volatile u32 *)reg.base;
    open_syscon(fdt);
    htif = htif_present(fdt);
}

_Noreturn void power_off(u32 status)
{
    if (finisher)
        *finisher = status ? status << FINISHER_STATUS_SHIFT | FINISHER_FAIL : FINISHER_PASS;
    if (poweroff)
        *poweroff = poweroff_value;
    if (htif)
        htif_exit(status);
    for (;;)
        __asm__ volatile("wfi");
}
