# Where worlds meet: M-mode's trap entry, and the switch between hypervisor and guest.

#include "vcpu.h"

    .text

# --- M-mode: our firmware's trap entry ---------------------------------------------------------
# The interrupted sp may be a guest's virtual address, so M-mode has a stack of its own, kept in
# mscratch. machine_trap is C: it keeps what the calling convention says it keeps.

#define CALLER_SAVED(op)                                              \
    op ra, 0(sp);   op t0, 8(sp);   op t1, 16(sp);  op t2, 24(sp);    \
    op a0, 32(sp);  op a1, 40(sp);  op a2, 48(sp);  op a3, 56(sp);    \
    op a4, 64(sp);  op a5, 72(sp);  op a6, 80(sp);  op a7, 88(sp);    \
    op t3, 96(sp);  op t4, 104(sp); op t5, 112(sp); op t6, 120(sp);   \
    op gp, 128(sp)
#define FRAME 144

    .globl machine_trap_entry
    .balign 4
machine_trap_entry:
    csrrw   sp, mscratch, sp
    addi    sp, sp, -FRAME
    CALLER_SAVED(sd)
    .option push
    .option norelax
    la      gp, __global_pointer$
    .option pop
    addi    a0, sp, 32          # a0..a7 of the frame: arguments and results of an ecall
    call    machine_trap
    CALLER_SAVED(ld)
    addi    sp, sp, FRAME
    csrrw   sp, mscratch, sp
    mret

    .globl skip_instruction     # mtvec while a CSR is tried that need not exist
    .balign 4
skip_instruction:
    csrw    mscratch, t0
    csrr    t0, mepc
    addi    t0, t0, 4
    csrw    mepc, t0
    csrr    t0, mscratch
    mret

    .globl enter_supervisor     # enter_supervisor(entry): leave M-mode, keep the stack
enter_supervisor:
    csrw    mepc, a0
    mret

# --- HS-mode: in and out of the guest ----------------------------------------------------------

#define HOST_SAVED(op)                                                \
    op ra, 0(sp);   op gp, 8(sp);   op tp, 16(sp);                    \
    op s0, 24(sp);  op s1, 32(sp);  op s2, 40(sp);  op s3, 48(sp);    \
    op s4, 56(sp);  op s5, 64(sp);  op s6, 72(sp);  op s7, 80(sp);    \
    op s8, 88(sp);  op s9, 96(sp);  op s10, 104(sp); op s11, 112(sp)
#define HOST_FRAME 128

# All of the guest's registers but a0, relative to a0.
#define GUEST(op)                                                                        \
    op x1, VCPU_X(1)(a0);   op x2, VCPU_X(2)(a0);   op x3, VCPU_X(3)(a0);                \
    op x4, VCPU_X(4)(a0);   op x5, VCPU_X(5)(a0);   op x6, VCPU_X(6)(a0);                \
    op x7, VCPU_X(7)(a0);   op x8, VCPU_X(8)(a0);   op x9, VCPU_X(9)(a0);                \
    op x11, VCPU_X(11)(a0); op x12, VCPU_X(12)(a0); op x13, VCPU_X(13)(a0);              \
    op x14, VCPU_X(14)(a0); op x15, VCPU_X(15)(a0); op x16, VCPU_X(16)(a0);              \
    op x17, VCPU_X(17)(a0); op x18, VCPU_X(18)(a0); op x19, VCPU_X(19)(a0);              \
    op x20, VCPU_X(20)(a0); op x21, VCPU_X(21)(a0); op x22, VCPU_X(22)(a0);              \
    op x23, VCPU_X(23)(a0); op x24, VCPU_X(24)(a0); op x25, VCPU_X(25)(a0);              \
    op x26, VCPU_X(26)(a0); op x27, VCPU_X(27)(a0); op x28, VCPU_X(28)(a0);              \
    op x29, VCPU_X(29)(a0); op x30, VCPU_X(30)(a0); op x31, VCPU_X(31)(a0)

    .globl enter_guest          # enter_guest(vcpu)
enter_guest:
    addi    sp, sp, -HOST_FRAME
    HOST_SAVED(sd)
    sd      sp, VCPU_HOST_SP(a0)
    csrw    sscratch, a0
    la      t0, leave_guest
    csrw    stvec, t0
    ld      t0, VCPU_PC(a0)
    csrw    sepc, t0
    # sret goes to VS-mode: V from hstatus.SPV, S from sstatus.SPP.
    li      t0, 1 << 7
    .option push
    .option arch, +h
    csrs    hstatus, t0
    .option pop
    li      t0, 1 << 8
    csrs    sstatus, t0
    GUEST(ld)
    ld      a0, VCPU_X(10)(a0)
    sret

    .balign 4
leave_guest:
    csrrw   a0, sscratch, a0
    GUEST(sd)
    csrr    t0, sscratch
    sd      t0, VCPU_X(10)(a0)
    csrr    t0, sepc
    sd      t0, VCPU_PC(a0)
    ld      sp, VCPU_HOST_SP(a0)
    HOST_SAVED(ld)
    addi    sp, sp, HOST_FRAME
    la      t0, supervisor_trap_entry
    csrw    stvec, t0
    ret

    .globl supervisor_trap_entry    # the hypervisor itself must not trap
    .balign 4
supervisor_trap_entry:
    call    supervisor_trap

    .section .bss.machine_stack, "aw", @nobits
    .balign 16
    .skip   4096
    .globl machine_stack_top
machine_stack_top:
