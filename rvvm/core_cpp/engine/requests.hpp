// What ends a run from outside: set by any thread, taken by the scheduler.
#pragma once
#include <atomic>
#include <optional>

#include "engine/engine.hpp"

namespace rvvm {

class Requests {
 public:
  void pause() { pause_ = true; }
  void halt(u64 code, unsigned hart) {
    code_ = code;
    hart_ = hart;
    halt_ = true;
  }
  // One of them, once; what a device has ended goes before what somebody asks for.
  std::optional<Exit> take() {
    if (const auto halted = take_halt()) return halted;
    if (pause_.exchange(false)) return Exit{ExitReason::pause};
    return std::nullopt;
  }
  std::optional<Exit> take_halt() {
    if (!halt_.exchange(false)) return std::nullopt;
    return Exit{ExitReason::halt, hart_, code_};
  }

 private:
  std::atomic<bool> pause_{false}, halt_{false};
  std::atomic<u64> code_{0};
  std::atomic<unsigned> hart_{0};
};

}  // namespace rvvm
