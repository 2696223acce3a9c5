// The part in M-mode: what OpenSBI is on a real board, cut down to what one hypervisor needs.
// It opens memory, hands nearly all traps down, and lends its timer out by SBI.

#include "console.h"
#include "csr.h"
#include "fdt.h"
#include "hypervisor.h"
#include "power.h"
#include "sbi.h"

#define MSTATUS_MPP_S (1ul << 11)
#define MSTATUS_MPP (3ul << 11)
#define MSTATUS_MPV (1ul << 39)
#define MISA_H BIT('h' - 'a')
#define COUNTEREN_TM BIT(1)

// CLINT: one 64-bit comparator a hart. Hart ids count from 0 on every board that has a CLINT.
#define CLINT_MTIMECMP 0x4000

static volatile u64 *mtimecmp;

void machine_trap_entry(void);
void skip_instruction(void);
void enter_supervisor(void (*entry)(void));
extern u8 machine_stack_top[];

_Noreturn void fail(const char *reason)
{
    print("%s\nhypervisor: FAIL\n", reason);
    power_off(1);
}

static void open_timer(const void *fdt, u64 hart)
{
    struct fdt_node node;
    struct fdt_region reg;
    if (!(fdt_find(fdt, "riscv,clint0", &node) || fdt_find(fdt, "sifive,clint0", &node)))
        fail("the devicetree has no CLINT: no timer for the guest");
    fdt_reg(&node, 0, &reg);
    mtimecmp = (volatile u64 *)(reg.base + CLINT_MTIMECMP + 8 * hart);
    *mtimecmp = ~0ul;
}

// Without a PMP entry that matches, S-mode may touch nothing; a hart without PMP skips this.
static void open_memory(void)
{
    enum { NAPOT_RWX = 0x1f };
    csr_write(mtvec, skip_instruction);
    csr_write(pmpaddr0, ~0ul);
    csr_write(pmpcfg0, NAPOT_RWX);
    csr_write(mtvec, machine_trap_entry);
}

static void delegate(void)
{
    // Everything a guest can cause goes to HS-mode; only HS-mode's own ecall comes here. Causes
    // 10 and 20 to 23 exist since H does; the VS-level interrupts delegate themselves.
    csr_write(medeleg, ~BIT(CAUSE_ECALL_HS));
    csr_write(mideleg, BIT(IRQ_SSI) | BIT(IRQ_STI) | BIT(IRQ_SEI));
    csr_write(mcounteren, COUNTEREN_TM);
}

// Called by machine_trap_entry; `a` is a0 to a7 of whoever trapped.
void machine_trap(u64 *a)
{
    u64 cause = csr_read(mcause);
    if (cause == (INTERRUPT | IRQ_MTI)) {
        csr_clear(mie, BIT(IRQ_MTI));  // until the next set_timer
        csr_set(mip, BIT(IRQ_STI));    // now it is HS-mode's
    } else if (cause == CAUSE_ECALL_HS && a[7] == SBI_TIME) {
        *mtimecmp = a[0];
        csr_clear(mip, BIT(IRQ_STI));
        csr_set(mie, BIT(IRQ_MTI));
        csr_write(mepc, csr_read(mepc) + 4);
        a[0] = SBI_SUCCESS;
    } else {
        print("trap to M-mode: mcause 0x%lx mepc 0x%lx mtval 0x%lx mtval2 0x%lx\n", cause,
              csr_read(mepc), csr_read(mtval), csr_read(mtval2));
        fail("nothing but timers should come here");
    }
}

int main(u64 hart, const void *fdt)
{
    if (!fdt_valid(fdt))
        return 1;
    console_open(fdt);
    power_open(fdt);
    print("\nM:  hart %lu, misa 0x%lx\n", hart, csr_read(misa));
    if (!(csr_read(misa) & MISA_H))
        fail("this hart has no hypervisor extension");
    open_timer(fdt, hart);
    open_memory();
    delegate();
    csr_write(mscratch, machine_stack_top);
    csr_clear(mstatus, MSTATUS_MPP | MSTATUS_MPV);
    csr_set(mstatus, MSTATUS_MPP_S);
    enter_supervisor(hypervisor);
    return 1;
}
