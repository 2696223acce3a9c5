// Who executes guest code at this moment, and how somebody gets the machine to himself.
//
// A hart's thread is a Guest while it executes. It stops at a safepoint: between blocks, where
// nothing it holds refers to code, or within an instruction that waits for something, a device or
// the others. Who has waited within an instruction finds its attention raised if somebody else had
// the machine meanwhile: the instruction ends, and its block is left before the next one, for the
// block may be gone.
#pragma once
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <vector>

namespace rvvm {

struct Cpu;

class World {
 public:
  // While it lives, this thread executes guest code. Waits until nobody wants the machine.
  class Guest {
   public:
    Guest(World& world, const Cpu& cpu);
    ~Guest();
    Guest(const Guest&) = delete;

   private:
    World& world_;
    const Cpu* outer_;
    World* outer_world_;
  };

  // Within an instruction, around what may wait for another thread. Elsewhere it does nothing.
  class Outside {
   public:
    explicit Outside(World& world);
    ~Outside();
    Outside(const Outside&) = delete;

   private:
    World& world_;
    bool was_guest_;
  };

  void add(Cpu& cpu) { cpus_.push_back(&cpu); }

  // Calls f while no hart executes. From any thread, within an instruction too.
  template <class F> void alone(F f) {
    const Stop stop{*this, false};
    f();
  }
  // The same while no hart is within an instruction either. Not for a Guest.
  template <class F> void between_blocks(F f) {
    const Stop stop{*this, true};
    f();
  }

  // Guests shall stop: somebody wants the machine, or the run is to end.
  const std::atomic<bool>& wanted() const { return wanted_; }
  void end_run();    // guests stop, and new ones are not to be; from any thread
  void begin_run();  // before there are guests
  bool run_ends() const { return ending_; }
  // The hart that this thread executes, or is within an instruction of; nullptr: none.
  Cpu* here() const;

 private:
  class Stop {
   public:
    Stop(World& world, bool between_blocks);
    ~Stop();

   private:
    World& world_;
    bool was_guest_;
  };

  bool is_guest() const;
  void raise_attention(const Cpu* except);
  void want();  // with the lock

  std::vector<Cpu*> cpus_;
  std::mutex mutex_;
  std::condition_variable changed_;
  unsigned guests_ = 0;    // execute
  unsigned within_ = 0;    // wait within an instruction
  unsigned requests_ = 0;  // to be alone, granted or not
  bool alone_ = false;     // somebody is
  std::atomic<bool> ending_{false};
  std::atomic<bool> wanted_{false};
};

}  // namespace rvvm
