// A small type-1 hypervisor, in HS-mode: one guest hart, its memory, and an answer to each of its
// traps. Read it from the bottom up: hypervisor() sets the guest's world up and runs it;
// `handlers` says what each exit means. Chapter "H" of the privileged specification goes with it.

#include "hypervisor.h"

#include "board.h"
#include "console.h"
#include "csr.h"
#include "elf.h"
#include "gstage.h"
#include "guest_memory.h"
#include "power.h"
#include "sbi.h"
#include "vcpu.h"

#define HSTATUS_GVA BIT(6)
#define HSTATUS_SPV BIT(7)
#define HSTATUS_SPVP BIT(8)
#define HSTATUS_VTW BIT(21)
#define COUNTEREN_TM BIT(1)

// htinst for a fault on an implicit read or write of a 64-bit PTE (table "pseudoinstructions").
enum { PSEUDO_READ_PTE = 0x3000, PSEUDO_WRITE_PTE = 0x3020 };

extern const u8 guest_elf[];

static u8 ram[GUEST_RAM_SIZE] __attribute__((aligned(PAGE)));
static struct vcpu vcpu;
static u32 device_register;
static bool failed;

// What must have happened for a PASS; each handler ticks off its own.
enum milestone {
    LOAD_EMULATED, STORE_EMULATED, DEMAND_PAGED, STORE_LOGGED, TEXT_SHOUTED, HSTATUS_ANSWERED,
    TIMER_FORWARDED, MILESTONES,
};
static bool reached[MILESTONES];
static const char *const milestone_names[MILESTONES] = {
    "load emulated", "store emulated", "page table page brought on demand", "first store logged",
    "guest memory read by hlv, written by hsv", "virtual instruction answered", "timer forwarded",
};

static void check(bool good, const char *what)
{
    if (!good)
        print("HS: wrong: %s\n", what);
    failed |= !good;
}

static u8 *host_address(u64 guest_physical)
{
    return ram + (guest_physical - GUEST_RAM);
}

static bool in_ram(u64 guest_physical, u64 size)
{
    u64 offset = guest_physical - GUEST_RAM;
    return offset < GUEST_RAM_SIZE && size <= GUEST_RAM_SIZE - offset;
}

// --- Guest-page faults -------------------------------------------------------------------------

// Where it happened. htval holds the guest-physical address shifted right by two, so that any
// address of Sv57x4 fits; its two low bits are those of stval, the guest-virtual address.
static u64 fault_address(void)
{
    return csr_read(htval) << 2 | (csr_read(stval) & 3);
}

static void print_fault(const char *kind)
{
    print("HS: %s guest-page fault: scause %lu, guest pc 0x%lx, stval 0x%lx, htval<<2 0x%lx, "
          "htinst 0x%lx\n",
          kind, csr_read(scause), vcpu.pc, csr_read(stval), csr_read(htval) << 2,
          csr_read(htinst));
    check(csr_read(hstatus) & HSTATUS_GVA, "hstatus.GVA: stval holds a guest-virtual address");
    check(csr_read(hstatus) & HSTATUS_SPV, "hstatus.SPV: the trap came from V=1");
    check(csr_read(hstatus) & HSTATUS_SPVP, "hstatus.SPVP: it came from VS, not VU");
}

enum { OPCODE_LOAD = 0x03, OPCODE_STORE = 0x23, FUNCT3_WORD = 2 };
enum { LOAD_KEPT = 0x00007fff, STORE_KEPT = 0x01f0707f };

// The instruction to emulate. htinst, when not zero, is it with the immediate taken out and rs1
// replaced by the offset in a misaligned access (0 for us); zero is always allowed, so a
// hypervisor must be able to fetch the instruction by itself. Here one serves to check the other.
static u32 faulting_instruction(u32 kept)
{
    u32 fetched = guest_fetch(vcpu.pc);
    u64 htinst = csr_read(htinst);
    check(htinst == 0 || htinst == (fetched & kept), "htinst is the transformed instruction");
    return fetched;
}

static void emulate_load(void)
{
    u32 instruction = faulting_instruction(LOAD_KEPT);
    check((instruction & 0x7f) == OPCODE_LOAD && (instruction >> 12 & 7) == FUNCT3_WORD, "an lw");
    vcpu.x[instruction >> 7 & 31] = (u64)(int32_t)~device_register;
    vcpu.pc += 4;
    reached[LOAD_EMULATED] = true;
}

static void emulate_store(void)
{
    u32 instruction = faulting_instruction(STORE_KEPT);
    check((instruction & 0x7f) == OPCODE_STORE && (instruction >> 12 & 7) == FUNCT3_WORD, "an sw");
    device_register = (u32)vcpu.x[instruction >> 20 & 31];
    vcpu.pc += 4;
    reached[STORE_EMULATED] = true;
}

// The guest put a page of its own page table here: the hart faulted while it walked the VS-stage.
static void bring_page(u64 address)
{
    u64 htinst = csr_read(htinst);
    check(htinst == PSEUDO_READ_PTE || htinst == PSEUDO_WRITE_PTE,
          "htinst tells an implicit access to a PTE (this one may not be zero)");
    gstage_map(DEMAND_PAGE, (u64)host_address(DEMAND_PAGE), PTE_R | PTE_W);
    check(address / PAGE == DEMAND_PAGE / PAGE, "htval is the PTE's address, not the data's");
    reached[DEMAND_PAGED] = true;
}

static bool on_load_fault(void)
{
    u64 address = fault_address();
    print_fault("load");
    if (address == DEVICE)
        emulate_load();
    else if (address / PAGE == DEMAND_PAGE / PAGE)
        bring_page(address);
    else
        return false;
    return true;
}

static bool on_store_fault(void)
{
    u64 address = fault_address();
    print_fault("store");
    if (address == DEVICE) {
        emulate_store();
    } else if (address / PAGE == LOGGED_PAGE / PAGE) {
        gstage_map(LOGGED_PAGE, (u64)host_address(LOGGED_PAGE), PTE_R | PTE_W);
        reached[STORE_LOGGED] = true;
    } else {
        return false;
    }
    return true;
}

// --- Virtual instructions ----------------------------------------------------------------------

enum { WFI = 0x10500073, CSRR_HSTATUS = 0x60002073, CSRR_MASK = 0xfffff07f };

// Instructions that HS-mode may execute and VS-mode may not: a hypervisor under this one would be
// emulated here. This guest only tries: it reads hstatus, and it waits (hstatus.VTW).
static bool on_virtual_instruction(void)
{
    u32 instruction = guest_fetch(vcpu.pc);
    check(csr_read(stval) == 0 || csr_read(stval) == instruction, "stval is the instruction");
    if ((instruction & CSRR_MASK) == CSRR_HSTATUS) {
        print("HS: virtual-instruction trap: the guest reads hstatus\n");
        vcpu.x[instruction >> 7 & 31] = HSTATUS_ANSWER;
        reached[HSTATUS_ANSWERED] = true;
    } else if (instruction == WFI) {
        // The guest idles: a real hypervisor would run another one. What sie enables wakes us.
        if (!(csr_read(hvip) & BIT(IRQ_VSTI)))
            __asm__ volatile("wfi");
    } else {
        return false;
    }
    vcpu.pc += 4;
    return true;
}

// --- The guest's SBI ---------------------------------------------------------------------------

static struct sbi_result write_console(u64 function, u64 length, u64 address)
{
    if (function != SBI_CONSOLE_WRITE)
        return (struct sbi_result){SBI_NOT_SUPPORTED, 0};
    if (!in_ram(address, length))
        return (struct sbi_result){SBI_INVALID_ADDRESS, 0};
    for (u64 index = 0; index < length; index++)
        put_char((char)host_address(address)[index]);
    return (struct sbi_result){SBI_SUCCESS, length};
}

// Each world's timer stands on that of the one below: the guest's deadline becomes ours, less
// what its clock is ahead; our firmware has the comparator.
static struct sbi_result set_timer(u64 deadline)
{
    csr_clear(hvip, BIT(IRQ_VSTI));
    sbi(SBI_TIME, 0, deadline == ~0ul ? deadline : deadline - csr_read(htimedelta), 0, 0);
    csr_set(sie, BIT(IRQ_STI));
    return (struct sbi_result){SBI_SUCCESS, 0};
}

static bool on_timer(void)
{
    csr_clear(sie, BIT(IRQ_STI));     // heard
    csr_set(hvip, BIT(IRQ_VSTI));     // the guest takes it as its own, when it lets interrupts in
    reached[TIMER_FORWARDED] = true;
    return true;
}

// The text is named by a guest-virtual address: hlv and hsv go through the guest's own page table.
static struct sbi_result shout(u64 address, u64 length)
{
    for (u64 at = address; at < address + length; at++) {
        u8 letter = guest_load_byte(at);
        if (letter >= 'a' && letter <= 'z')
            guest_store_byte(at, letter - 'a' + 'A');
    }
    reached[TEXT_SHOUTED] = true;
    return (struct sbi_result){SBI_SUCCESS, length};
}

static _Noreturn void finish(u64 reason)
{
    check(reason == SBI_NO_REASON, "the guest found something wrong");
    for (int milestone = 0; milestone < MILESTONES; milestone++)
        check(reached[milestone], milestone_names[milestone]);
    if (failed)
        fail("HS: see above");
    put_text("hypervisor: PASS\n");
    power_off(0);
}

static bool on_ecall(void)
{
    u64 *a = vcpu.x + 10;
    struct sbi_result result = {SBI_NOT_SUPPORTED, 0};
    switch (a[7]) {
    case SBI_DEBUG_CONSOLE:
        result = write_console(a[6], a[0], a[1]);
        break;
    case SBI_TIME:
        result = set_timer(a[0]);
        break;
    case SBI_EXPERIMENT:
        result = shout(a[0], a[1]);
        break;
    case SBI_SYSTEM_RESET:
        finish(a[1]);
    }
    a[0] = (u64)result.error;
    a[1] = result.value;
    vcpu.pc += 4;
    return true;
}

// --- The guest's world -------------------------------------------------------------------------

static const struct {
    u64 cause;
    bool (*handle)(void);
} handlers[] = {
    {CAUSE_ECALL_VS, on_ecall},
    {CAUSE_LOAD_GUEST_PAGE_FAULT, on_load_fault},
    {CAUSE_STORE_GUEST_PAGE_FAULT, on_store_fault},
    {CAUSE_VIRTUAL_INSTRUCTION, on_virtual_instruction},
    {INTERRUPT | IRQ_STI, on_timer},
};

static void handle_exit(void)
{
    u64 cause = csr_read(scause);
    for (u32 index = 0; index < ARRAY_SIZE(handlers); index++)
        if (handlers[index].cause == cause && handlers[index].handle())
            return;
    print("HS: exit without an answer: scause 0x%lx sepc 0x%lx stval 0x%lx htval 0x%lx\n", cause,
          csr_read(sepc), csr_read(stval), csr_read(htval));
    fail("HS: the guest did what it should not");
}

// Called by supervisor_trap_entry.
void supervisor_trap(void)
{
    print("HS: own trap: scause 0x%lx sepc 0x%lx stval 0x%lx\n", csr_read(scause),
          csr_read(sepc), csr_read(stval));
    fail("HS: the hypervisor itself must not trap");
}

static void load_guest(void)
{
    const struct elf_header *header = (const void *)guest_elf;
    const struct elf_program_header *segment = (const void *)(guest_elf + header->program_headers);
    for (u32 index = 0; index < header->program_header_count; index++, segment++)
        if (segment->type == ELF_LOAD)
            memcpy(host_address(segment->physical), guest_elf + segment->offset,
                   segment->file_size);
    vcpu.pc = header->entry;
}

static void map_guest(void)
{
    for (u64 page = GUEST_RAM; page < GUEST_RAM + GUEST_RAM_SIZE; page += PAGE)
        if (page == LOGGED_PAGE)
            gstage_map(page, (u64)host_address(page), PTE_R);
        else if (page != DEMAND_PAGE)
            gstage_map(page, (u64)host_address(page), PTE_R | PTE_W | PTE_X);
    gstage_map(FAR_PAGE, (u64)host_address(FAR_BACKING), PTE_R | PTE_W);
}

// Traps the guest handles itself, and interrupts it gets as its own.
static void delegate_to_guest(void)
{
    csr_write(hedeleg, BIT(CAUSE_BREAKPOINT) | BIT(CAUSE_ECALL_U) | BIT(CAUSE_FETCH_PAGE_FAULT) |
                           BIT(CAUSE_LOAD_PAGE_FAULT) | BIT(CAUSE_STORE_PAGE_FAULT));
    csr_write(hideleg, BIT(IRQ_VSSI) | BIT(IRQ_VSTI) | BIT(IRQ_VSEI));
    csr_write(hcounteren, COUNTEREN_TM);
    csr_write(htimedelta, CLOCK_AHEAD);
    csr_write(hvip, 0);
    csr_write(vsatp, 0);
    csr_write(hstatus, HSTATUS_SPVP | HSTATUS_VTW);
}

void supervisor_trap_entry(void);

void hypervisor(void)
{
    csr_write(stvec, supervisor_trap_entry);
    csr_write(satp, 0);
    put_text("HS: setting up the guest: Sv39x4 tables, delegation, clock\n");
    load_guest();
    map_guest();
    if (!gstage_enable())
        fail("HS: no Sv39x4 in hgatp");
    delegate_to_guest();
    for (;;) {
        enter_guest(&vcpu);
        handle_exit();
    }
}
