# Entry of a static Linux program; nothing of the stack the kernel made is looked at.
    .text
    .globl _start
_start:
    .option push
    .option norelax
    la      gp, __global_pointer$
    .option pop
    andi    sp, sp, -16
    call    main
    tail    sys_exit
