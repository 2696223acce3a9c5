// A guest hart while it does not run. Offsets are written out because assembly needs them too.
#pragma once

#define VCPU_X(n) ((n)*8)
#define VCPU_PC 256
#define VCPU_HOST_SP 264

#ifndef __ASSEMBLER__

#include "types.h"

struct vcpu {
    u64 x[32];
    u64 pc;
    u64 host_sp;
};

_Static_assert(offsetof(struct vcpu, pc) == VCPU_PC, "traps.S uses it");
_Static_assert(offsetof(struct vcpu, host_sp) == VCPU_HOST_SP, "traps.S uses it");

// Run the guest hart until it traps to HS-mode; the CSRs then say why.
void enter_guest(struct vcpu *vcpu);

#endif
