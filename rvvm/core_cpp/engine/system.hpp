// The machine below the board: harts, physical memory, time, and the loop that gives each hart its
// turn.
#pragma once
#include <condition_variable>
#include <memory>
#include <mutex>
#include <set>
#include <string>

#include "engine/interpreter.hpp"

namespace rvvm {

struct Watchpoint {
  u64 address, size;
  bool on_load, on_store;
  friend auto operator<=>(const Watchpoint&, const Watchpoint&) = default;
};

// Who looks at a running machine; with an observer harts run instruction by instruction.
struct Observers {
  std::set<u64> breakpoints;
  std::set<Watchpoint> watchpoints;
  std::unique_ptr<class CommitLog> log;
  bool any() const;
  Observers();
  ~Observers();
};

class System final : public StoreListener {
 public:
  System(Clock clock, std::unique_ptr<Interpreter> engine);
  ~System();

  Cpu& add_hart(u64 hart_id, ExtSet extensions, u64 reset_pc);
  Cpu& hart(unsigned index) { return *cpus_[index]; }
  unsigned harts() const { return cpus_.size(); }

  // Harts in turn, in the calling thread, until `budget` instructions have retired in all, or
  // something stops them. When all wait for interrupts the thread sleeps until a deadline, a wire
  // or pause(); `poll` is called now and then, and its answer false stops the run.
  Exit run(u64 budget, const std::function<bool()>& poll);
  Exit step(unsigned hart, u64 count);

  void pause();         // from any thread
  void halt(u64 code);  // from a device
  void wires_changed(Cpu& cpu);
  void reset();

  u64 time() const { return clock.now(0); }
  void set_time(u64 value);

  // Physical memory of RAM, in step with translated code. False outside RAM.
  bool read(u64 address, u8* data, u64 size) const;
  bool write(u64 address, const u8* data, u64 size);
  void written(u64 address, u64 size);  // a device has written these bytes of RAM itself
  void forget_code();                   // after writes that did not come through here
  void observe();                       // after `observers` has changed
  void stop_on_traps(const std::set<u64>& causes);
  TranslationStats translation_stats() const { return engine_->translation_stats(); }
  CodeCache::Stats code_stats() const;  // of all caches together

  void code_translated(Hpa page) override;
  void code_written(Hpa address, u64 size) override;
  void reserved_written(const Hart* by, Hpa address, u64 size) override;

  Bus bus;
  Clock clock;
  Observers observers;

 private:
  CodeCache& code_for(ExtSet extensions);
  u64 turn_length(Cpu& cpu) const;
  Exit take_turn(unsigned index, u64 turn);
  Exit observed_turn(unsigned index, u64 turn);
  bool all_waiting() const;
  void idle();
  void advance_clock();
  void collect_code();
  void guard_reservation(const Cpu& cpu);
  bool interrupted(Exit& exit);

  std::vector<std::pair<ExtSet, std::unique_ptr<CodeCache>>> code_;
  std::vector<std::unique_ptr<Cpu>> cpus_;
  std::unique_ptr<Interpreter> engine_;
  unsigned turn_ = 0;  // whose it is
  u64 stop_causes_[2] = {0, 0};

  std::atomic<bool> stop_{false};
  std::atomic<bool> pause_requested_{false};
  bool halted_ = false;
  u64 halt_code_ = 0;
  std::mutex mutex_;
  std::condition_variable wake_;
  u64 wakes_ = 0;
};

}  // namespace rvvm
