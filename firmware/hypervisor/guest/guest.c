// The guest: a small supervisor program that does not know that it is one. It turns its own Sv39
// on, and then does the things a hypervisor has to answer, checking each answer.

#include "board.h"
#include "csr.h"
#include "gstage.h"  // PTE bits and PAGE: both stages write entries alike
#include "sbi.h"

// Virtual addresses, one gigabyte each: an entry of the root table.
#define GIGABYTE 0x40000000ul
#define ALIAS 0xffffffc000000000ul  // a second name for RAM
#define HOLE (3 * GIGABYTE)         // its table lies in DEMAND_PAGE
#define FAR (4 * GIGABYTE)          // FAR_PAGE's gigabyte

#define SSTATUS_SIE BIT(1)

static u64 root[512] __attribute__((aligned(PAGE)));
static volatile u64 last_cause, last_value;
static u64 wrong;

static void say(const char *text)
{
    u64 length = 0;
    while (text[length])
        length++;
    // The text's address is physical, and RAM is mapped one to one.
    sbi(SBI_DEBUG_CONSOLE, SBI_CONSOLE_WRITE, length, (u64)text, 0);
}

static void check(bool good, const char *what)
{
    say(good ? "VS: ok: " : "VS: WRONG: ");
    say(what);
    say("\n");
    wrong += !good;
}

// Called by trap_entry. A fault is noted and its instruction (four bytes) skipped.
void guest_trap(void)
{
    last_cause = csr_read(scause);
    last_value = csr_read(stval);
    if (last_cause == (INTERRUPT | IRQ_STI))
        sbi(SBI_TIME, 0, ~0ul, 0, 0);  // heard: no next one
    else
        csr_write(sepc, csr_read(sepc) + 4);
}

// Uncompressed loads and stores, so that the trap handlers know the length.
static u32 load_word(u64 address)
{
    u32 value = 0;
    __asm__ volatile(".option push\n.option norvc\nlw %0, 0(%1)\n.option pop"
                     : "+r"(value)
                     : "r"(address)
                     : "memory");
    return value;
}

static void store_word(u64 address, u32 value)
{
    __asm__ volatile(".option push\n.option norvc\nsw %0, 0(%1)\n.option pop"
                     :
                     : "r"(value), "r"(address)
                     : "memory");
}

static u64 leaf(u64 physical)
{
    return PPN_TO_PTE(physical) | PTE_V | PTE_R | PTE_W | PTE_X | PTE_A | PTE_D;
}

static u64 *entry_of(u64 virtual)
{
    return &root[virtual / GIGABYTE & 511];
}

static void turn_paging_on(void)
{
    *entry_of(0) = leaf(0);                  // the device
    *entry_of(GUEST_RAM) = leaf(GUEST_RAM);  // RAM, one to one
    *entry_of(ALIAS) = leaf(GUEST_RAM);
    *entry_of(FAR) = leaf(FAR_PAGE);
    *entry_of(HOLE) = PPN_TO_PTE((u64)DEMAND_PAGE) | PTE_V;
    csr_write(satp, 8ul << 60 | (u64)root >> 12);
    __asm__ volatile("sfence.vma" ::: "memory");
}

static void try_paging(void)
{
    static volatile u32 word = 1;
    store_word((u64)&word - GUEST_RAM + ALIAS, 2);
    check(word == 2, "one word by two virtual addresses");
    store_word(FAR, 3);
    check(load_word(FAR_BACKING) == 3, "a guest-physical address above 2^39");
}

static void try_device(void)
{
    store_word(DEVICE, 0x12345678);
    check(load_word(DEVICE) == (u32)~0x12345678, "a device that the hypervisor plays");
}

static void try_logged_page(void)
{
    store_word(LOGGED_PAGE, 4);
    check(load_word(LOGGED_PAGE) == 4, "a store to a page that was read-only below us");
}

// The walk for this address reads a table in DEMAND_PAGE. The hypervisor brings the page, empty:
// the second try finds no entry, and that fault is our own.
static void try_hole(void)
{
    last_cause = 0;
    load_word(HOLE);
    check(last_cause == CAUSE_LOAD_PAGE_FAULT && last_value == HOLE,
          "our own page fault, after the hypervisor's");
}

static void try_hypercall(void)
{
    static char text[] = "hlv and hsv";
    sbi(SBI_EXPERIMENT, SHOUT, (u64)text - GUEST_RAM + ALIAS, sizeof(text), 0);
    check(same_text(text, "HLV AND HSV"), "the hypervisor in our virtual memory");
}

static void try_virtual_instruction(void)
{
    check(csr_read(hstatus) == HSTATUS_ANSWER, "hstatus, which is not ours to read");
}

static void try_timer(void)
{
    u64 now = csr_read(time);
    check(now > CLOCK_AHEAD, "a clock that is ahead by htimedelta");
    last_cause = 0;
    sbi(SBI_TIME, 0, now + 1000, 0, 0);
    csr_set(sie, BIT(IRQ_STI));
    // Asked and waited for with interrupts shut out, or one might slip in between: wfi ends on
    // a pending one all the same.
    while (last_cause == 0) {
        __asm__ volatile("wfi");
        csr_set(sstatus, SSTATUS_SIE);  // now it is taken
        csr_clear(sstatus, SSTATUS_SIE);
    }
    check(last_cause == (INTERRUPT | IRQ_STI), "a timer interrupt, as number 5: our own");
    check(csr_read(time) >= now + 1000, "not before its time");
}

_Noreturn void guest_main(void)
{
    say("VS: hello from the guest\n");
    turn_paging_on();
    say("VS: Sv39 is on\n");
    try_paging();
    try_device();
    try_logged_page();
    try_hole();
    try_hypercall();
    try_virtual_instruction();
    try_timer();
    sbi(SBI_SYSTEM_RESET, 0, 0, wrong ? SBI_SYSTEM_FAILURE : SBI_NO_REASON, 0);
    for (;;)
        ;
}
