# Entry of a bare-metal program in M-mode: a0 holds the hart id, a1 the devicetree's address.

    .section .text.start, "ax"
    .globl _start
_start:
    # One hart runs the program: the first to come by. The others wait for ever.
    la      t0, taken
    li      t1, 1
    amoswap.w.aq t1, t1, (t0)
    bnez    t1, park

    .option push
    .option norelax             # gp itself cannot be set relative to gp
    la      gp, __global_pointer$
    .option pop
    la      sp, stack_top
    # The F unit must be on before the compiler's own moves may use it; a hart without one
    # keeps mstatus.FS zero.
    li      t0, 1 << 13
    csrs    mstatus, t0
    call    main                # main(hart, devicetree); its result is the exit status
    tail    power_off

park:
    wfi
    j       park

    .section .data, "aw"        # not .bss: the loser of the race must find it set
    .balign 4
taken:
    .word   0

    .section .stack, "aw", @nobits
    .balign 16
    .skip   16384
stack_top:
