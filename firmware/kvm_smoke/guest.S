# The guest of kvm_smoke: position-independent code for VS-mode, copied into the guest's memory.
# a0 holds the address of a device that is not there.

    .text
    .option norelax             # gp is nobody's here
    .globl guest_code, guest_code_end
guest_code:
    mv      s0, a0

    # Print by SBI's debug console extension, byte by byte: KVM hands it to its user.
    lla     s1, text
1:  lbu     a0, 0(s1)
    beqz    a0, 2f
    li      a6, 2
    li      a7, 0x4442434E
    ecall
    addi    s1, s1, 1
    j       1b

    # Read the device, write back what was read and one more.
2:  lw      t0, 0(s0)
    addi    t0, t0, 1
    sw      t0, 4(s0)

    # Shut down by SBI's system reset extension: type 0, reason 0.
    li      a0, 0
    li      a1, 0
    li      a6, 0
    li      a7, 0x53525354
    ecall
3:  j       3b

text:
    .asciz  "hello from VS-mode under KVM\n"
guest_code_end:
