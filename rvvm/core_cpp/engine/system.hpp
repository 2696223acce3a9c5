// The machine below the board: harts, physical memory, time, the code they share, and what the
// outside may ask of them. How harts get to run is in turns.hpp and threads.hpp.
#pragma once
#include <functional>
#include <memory>
#include <set>
#include <string>

#include "engine/disturbance.hpp"
#include "engine/interpreter.hpp"
#include "engine/lookout.hpp"
#include "engine/requests.hpp"
#include "engine/reservations.hpp"
#include "engine/threads.hpp"
#include "engine/turns.hpp"
#include "engine/world.hpp"

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

// What all RAM held at some moment; any number of machines may go on from there.
struct MemoryImage {
  std::vector<RamImage> rams;
};

// What is neither a hart's nor RAM's: the time, and whose turn it is.
struct Progress {
  u64 clock;
  Turn turn;
  u64 chores;
};

class System final : public StoreListener {
 public:
  // With `threads` several harts run on a thread each; else, and when time counts instructions,
  // when somebody observes or the budget is small, they take turns.
  System(Clock clock, std::unique_ptr<Interpreter> engine, bool threads = false);
  ~System();

  Cpu& add_hart(u64 hart_id, ExtSet extensions, u64 reset_pc);
  Cpu& hart(unsigned index) const { return *cpus_[index]; }
  unsigned harts() const { return cpus_.size(); }
  const std::vector<std::unique_ptr<Cpu>>& cpus() const { return cpus_; }
  Interpreter& engine() const { return *engine_; }

  // Until `budget` instructions have retired in all, or something stops the harts. When all wait
  // for interrupts the thread sleeps until a deadline, a wire or pause(). `poll` is called now and
  // then, in the calling thread, and its answer false stops the run.
  Exit run(u64 budget, const Poll& poll);
  Exit step(unsigned hart, u64 count, const Poll& poll);

  void pause();         // from any thread
  void halt(u64 code);  // from a device
  void wires_changed(Cpu& cpu);
  void reset();

  // Of the hart that asks, from within an instruction; else the time that all harts have come to.
  u64 time() const;
  void set_time(u64 value);
  void set_alarm(u64 time);

  // Physical memory of RAM, in step with translated code. False outside RAM.
  bool read(u64 address, u8* data, u64 size) const;
  bool write(u64 address, const u8* data, u64 size);
  bool discard(u64 address, u64 size);  // false unless they are whole pages of one RAM
  void written(u64 address, u64 size);  // a device has written these bytes of RAM itself
  // RAM as it is, without a copy of what has not changed since an image was made before; RAM as it
  // was. False, and nothing, when the image is of other RAM.
  MemoryImage image(bool to_share);
  bool become(const MemoryImage& image);
  Progress progress();
  void resume(const Progress& progress);
  void replace(Cpu& cpu, const Hart& state, const Wires& pins);
  void watch_stores(StoreWatch watch);
  void forget_code();
  void forget_ram();  // after writes that did not come through here: code and reservations
  void stop_on_traps(const std::set<u64>& causes);
  void check_translations();  // of this and later harts; what is found stops the run
  const std::optional<StaleTranslation>& stale_translation() const { return stale_; }
  void lose(Disturbance::Loss loss);
  TranslationStats translation_stats() const { return engine_->translation_stats(); }
  CodeCache::Stats code_stats();  // of all caches together

  // Changes `observers` while no hart executes.
  template <class Change> void observe(Change change) {
    world.alone([&] {
      change(observers);
      refresh_observers();
    });
    end_run();  // it goes on as the observers want it
  }

  // Code that was dropped, or that is to be as there is too much: worth a stop, and the stop.
  bool code_to_collect() const;
  void collect_code();

  void code_translated(Hpa page) override;
  void code_written(Hpa address, u64 size) override;
  void reserved_written(const Hart* by, Hpa address, u64 size) override;
  u64 reserve(const Hart& by, Hpa address, u8 width) override;
  bool still_reserved(const Hart& by) override { return reservations_.held(index_of(&by)); }
  void translation_differs(const StaleTranslation& found) override;
  void stores_come(u8* ram_part) override { engine_->clear_ahead(ram_part); }
  void guard_reservation(const Cpu& cpu);
  void run_concurrently(bool on);  // while no hart executes: by threads from now on, or no more

  void end_run();  // what harts execute; the scheduler decides how it goes on

  // What a device has put off, from within an instruction: done when that hart's turn is over,
  // before it waits, or at the end of the run. `chores` is set by who embeds the system.
  void put_off();
  bool chores_due() const { return chores_due_.load(std::memory_order_relaxed); }
  void do_chores() {
    if (chores_due() || chores_at_ != Clock::never) do_due_chores();
  }
  // By instructions: the moment when it is done, at the same one however the run is cut.
  u64 chores_at() const { return chores_at_.load(std::memory_order_relaxed); }
  std::function<void()> chores = [] {};

  // Looks at the files that `lookout` watches, and waits for them at most so long: after every turn
  // without a wait, and while all harts sleep. `files_ready` is set by who embeds the system.
  void look(std::chrono::nanoseconds longest);
  void look() {
    if (lookout.watches()) look(std::chrono::nanoseconds{0});
  }
  std::function<void(const std::vector<int>&)> files_ready = [](const auto&) {};

  World world;
  Bus bus;
  Clock clock;
  Observers observers;
  std::optional<Disturbance> disturbance;  // of harts that take turns
  Requests requests;
  Lookout lookout;  // of the thread that called run
  // Around the life of a hart's thread: what the embedding language wants done there.
  std::function<void(const std::function<void()>&)> around_thread = [](const auto& f) { f(); };

 private:
  Exit run_harts(u64 budget, const Poll& poll);
  CodeCache& code_for(ExtSet extensions);
  bool threaded() const { return threads_ && cpus_.size() > 1; }
  void refresh_observers();
  void tell_across(Cpu& to);
  void do_due_chores();
  void drop_code(Hpa address, u64 size);
  unsigned index_of(const Hart* hart) const;
  void flag_reserved(Hpa page, bool on);
  void break_reservations(u64 address, u64 size);
  void forget_writable(Hpa page);
  void drop_changed(Ram& ram, const std::vector<u32>& pages);

  std::mutex code_mutex_;
  std::vector<std::pair<ExtSet, std::unique_ptr<CodeCache>>> code_;
  std::vector<std::unique_ptr<Cpu>> cpus_;
  std::unique_ptr<Interpreter> engine_;
  bool threads_;
  std::atomic<bool> chores_due_{false};
  Reservations reservations_;
  std::atomic<u64> chores_at_{Clock::never};
  Turns turns_{*this};
  Threads threads_run_{*this};
  u64 stop_causes_[2] = {0, 0};
  bool check_translations_ = false;
  std::optional<StaleTranslation> stale_;
};

}  // namespace rvvm
