// What a memory access is for, and as whom it is made.
#pragma once
#include "hart/mode.hpp"
#include "isa/causes.hpp"

namespace rvvm {

enum class Access : u8 { load, store, fetch };

// The exceptions of an access ("Machine Cause Register": AMOs and SC report as stores).
struct AccessFaults {
  Exception misaligned, access_fault, page_fault, guest_page_fault;
};
constexpr AccessFaults faults_of(Access access) {
  switch (access) {
    case Access::load:
      return {Exception::load_misaligned, Exception::load_access_fault, Exception::load_page_fault,
              Exception::load_guest_page_fault};
    case Access::store:
      return {Exception::store_misaligned, Exception::store_access_fault,
              Exception::store_page_fault, Exception::store_guest_page_fault};
    case Access::fetch: break;
  }
  return {Exception::instruction_misaligned, Exception::instruction_access_fault,
          Exception::instruction_page_fault, Exception::instruction_guest_page_fault};
}

}  // namespace rvvm
