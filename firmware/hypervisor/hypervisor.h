#pragma once

// Print why, FAIL, and end the machine with a status that is not zero.
_Noreturn void fail(const char *reason);

// The hypervisor proper; runs in HS-mode and never returns.
void hypervisor(void);
