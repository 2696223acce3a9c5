// The guest: a program of its own, linked for the guest's addresses, carried along as it is.
#include "types.h"

const u8 guest_elf[] __attribute__((aligned(8))) = {
#include "guest.inc"
};
