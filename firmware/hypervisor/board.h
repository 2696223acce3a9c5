// The guest's little board: what guest and hypervisor both know. All addresses are guest-physical.
#pragma once

// RAM, backed by memory of the hypervisor's that lies elsewhere.
#define GUEST_RAM 0x80000000
#define GUEST_RAM_SIZE 0x200000

// Pages of that RAM with something special about them, until they are touched.
#define DEMAND_PAGE (GUEST_RAM + 0x1f0000)    // not there: the first access brings it, zeroed
#define LOGGED_PAGE (GUEST_RAM + 0x1f1000)    // read-only: the first store is noted, then allowed

// One more name for the last page of RAM, beyond the 39 bits of Sv39: the G-stage has two more.
#define FAR_PAGE (0x8000000000 + GUEST_RAM)
#define FAR_BACKING (GUEST_RAM + 0x1ff000)

// A device without memory behind it: one 32-bit register that reads as the complement of what
// was written last.
#define DEVICE 0x10000000

// What a guest's attempt to read hstatus is answered.
#define HSTATUS_ANSWER 0x5e

// The guest's clock runs so far ahead of the machine's (htimedelta).
#define CLOCK_AHEAD 0x10000000000

// SBI_EXPERIMENT's only function: turn a text (guest-virtual address, length) to capitals.
#define SHOUT 0
