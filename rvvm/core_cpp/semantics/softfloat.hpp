// IEEE 754-2008 arithmetic as RISC-V defines it, in integers only: total, noexcept, constexpr.
//
// NaN results are canonical, tininess is detected after rounding, all five rounding modes exist.
// A function takes and gives data as u64 with zeros above the format, and ORs into env.flags.
#pragma once

#include "semantics/softfloat_arithmetic.hpp"  // IWYU pragma: export
#include "semantics/softfloat_compare.hpp"     // IWYU pragma: export
#include "semantics/softfloat_constants.hpp"   // IWYU pragma: export
#include "semantics/softfloat_convert.hpp"     // IWYU pragma: export
