# Endless loops for the interpreter alone: each begins at its symbol, in M-mode, with nothing set up,
# and never leaves. Bare addresses, unless the name says paged.

    .option norvc
    .text

    .globl alu, muldiv, branches, calls, indirect, memory, paged_memory, csr, floating, atomics
    .globl touch_data, touch_code

alu:
    addi    t0, t0, 1
    xor     t1, t1, t0
    slli    t2, t1, 3
    add     t3, t3, t2
    srli    t4, t3, 7
    or      t5, t4, t0
    sltu    t6, t5, t3
    sub     a0, a0, t6
    j       alu

muldiv:
    li      t0, 12345
1:  mul     t1, t0, t0
    addi    t1, t1, 7
    divu    t2, t1, t0
    remu    t3, t1, t0
    mulhu   t4, t1, t2
    add     t0, t0, t3
    j       1b

# The branches follow the bits of a counter: half of them are taken.
branches:
    addi    t0, t0, 1
    andi    t1, t0, 1
    beqz    t1, 1f
    addi    t2, t2, 1
1:  andi    t1, t0, 2
    bnez    t1, 2f
    addi    t3, t3, 1
2:  bltu    t2, t3, branches
    j       branches

calls:
    la      sp, stack_top
1:  jal     ra, 2f
    j       1b
2:  addi    sp, sp, -16
    sd      ra, 8(sp)
    jal     ra, 3f
    ld      ra, 8(sp)
    addi    sp, sp, 16
3:  ret

# Sixteen targets, in an order that a multiplicative generator makes.
indirect:
    la      s0, 2f
    li      s1, 0x5851f42d
1:  mul     t0, t0, s1
    addi    t0, t0, 11
    srli    t1, t0, 24
    andi    t1, t1, 15 * 8
    add     t1, t1, s0
    jr      t1
2:  .rept   16
    addi    a0, a0, 1
    j       1b
    .endr

memory:
    la      s0, data
1:  ld      t0, 0(s0)
    addi    t0, t0, 1
    sd      t0, 8(s0)
    lw      t1, 16(s0)
    lbu     t2, 24(s0)
    sh      t1, 32(s0)
    add     t3, t1, t2
    ld      t4, 2040(s0)
    j       1b

# The same in S-mode under Sv39, through one gigapage that maps RAM onto itself.
paged_memory:
    li      t0, -1
    csrw    pmpaddr0, t0
    li      t0, 0x1f                        # A = NAPOT, all of memory, rwx
    csrw    pmpcfg0, t0
    la      t1, root_table
    srli    t0, t1, 12
    li      t2, 8 << 60                     # satp.MODE = Sv39
    or      t0, t0, t2
    csrw    satp, t0
    li      t0, (0x80000000 >> 2) | 0xcf    # V R W X A D
    sd      t0, 2 * 8(t1)
    sfence.vma
    la      t0, memory
    csrw    mepc, t0
    li      t0, 3 << 11
    csrc    mstatus, t0
    li      t0, 1 << 11                     # mstatus.MPP = S
    csrs    mstatus, t0
    mret

csr:
    csrrw   t0, mscratch, t1
    csrr    t2, mstatus
    addi    t1, t1, 1
    csrr    t3, minstret
    j       csr

floating:
    li      t0, 1 << 13                     # mstatus.FS = Initial
    csrs    mstatus, t0
    li      t0, 3
    fcvt.d.l fa0, t0
    li      t0, 1
    fcvt.d.l fa1, t0
    fdiv.d  fa2, fa1, fa0
1:  fadd.d  fa3, fa2, fa1
    fmul.d  fa4, fa3, fa2
    fsub.d  fa2, fa4, fa2
    fmadd.d fa5, fa2, fa0, fa1
    fdiv.d  fa2, fa1, fa5
    flt.d   t1, fa2, fa5
    j       1b

atomics:
    la      s0, data
1:  amoadd.d t0, s0, (s0)
    lr.d    t1, (s0)
    addi    t1, t1, 1
    sc.d    t2, t1, (s0)
    amoswap.w t3, t1, (s0)
    j       1b

# For benchmarks.mmu, which maps things and sets a0: base, a1: stride, a2: mask of the offset.
touch_data:
    add     t0, t0, a1
    and     t0, t0, a2
    add     t1, t0, a0
    ld      t2, (t1)
    j       touch_data

    .balign 4096
touch_code:
    add     t0, t0, a1
    and     t0, t0, a2
    add     t1, t0, a0
    jr      t1

    .bss
    .balign 4096
root_table:
    .zero   4096
data:
    .zero   4096
stack_top:
