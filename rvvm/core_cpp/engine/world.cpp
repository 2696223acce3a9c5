#include "engine/world.hpp"

#include <algorithm>

#include "engine/cpu.hpp"

namespace rvvm {

namespace {

// What this thread executes: a device may run another machine.
thread_local World* guest_of = nullptr;
thread_local const Cpu* executing = nullptr;

}  // namespace

bool World::is_guest() const { return guest_of == this; }
Cpu* World::here() const {
  const auto found = std::ranges::find(cpus_, executing);
  return found == cpus_.end() ? nullptr : *found;
}

World::Guest::Guest(World& world, const Cpu& cpu)
    : world_{world}, outer_{executing}, outer_world_{guest_of} {
  std::unique_lock lock(world_.mutex_);
  world_.changed_.wait(lock, [&] { return world_.requests_ == 0; });
  ++world_.guests_;
  guest_of = &world_;
  executing = &cpu;
}

World::Guest::~Guest() {
  guest_of = outer_world_;
  executing = outer_;
  std::lock_guard lock(world_.mutex_);
  --world_.guests_;
  if (world_.requests_) world_.changed_.notify_all();
}

World::Outside::Outside(World& world) : world_{world}, was_guest_{world.is_guest()} {
  if (!was_guest_) return;
  guest_of = nullptr;
  std::lock_guard lock(world_.mutex_);
  --world_.guests_;
  ++world_.within_;
  if (world_.requests_) world_.changed_.notify_all();
}

// Others that want the machine wait on until the block has been left.
World::Outside::~Outside() {
  if (!was_guest_) return;
  std::unique_lock lock(world_.mutex_);
  world_.changed_.wait(lock, [&] { return !world_.alone_; });
  --world_.within_;
  ++world_.guests_;
  guest_of = &world_;
}

World::Stop::Stop(World& world, bool between_blocks) : world_{world}, was_guest_{world.is_guest()} {
  std::unique_lock lock(world_.mutex_);
  if (was_guest_) {
    --world_.guests_;
    ++world_.within_;
  }
  ++world_.requests_;
  world_.want();
  if (world_.guests_ + world_.within_ > was_guest_)  // others: with none, nobody need know
    world_.raise_attention(was_guest_ ? executing : nullptr);
  world_.changed_.notify_all();
  world_.changed_.wait(lock, [&] {
    return !world_.alone_ && world_.guests_ == 0 && !(between_blocks && world_.within_);
  });
  world_.alone_ = true;
}

World::Stop::~Stop() {
  std::lock_guard lock(world_.mutex_);
  world_.alone_ = false;
  --world_.requests_;
  if (was_guest_) {
    --world_.within_;
    ++world_.guests_;
  }
  world_.want();
  world_.changed_.notify_all();
}

void World::want() { wanted_ = ending_ || requests_ != 0; }

void World::raise_attention(const Cpu* except) {
  for (Cpu* cpu : cpus_)
    if (cpu != except) cpu->raise_attention();
}

void World::end_run() {
  std::lock_guard lock(mutex_);
  ending_ = true;
  want();
  raise_attention(nullptr);
}

void World::begin_run() {
  std::lock_guard lock(mutex_);
  ending_ = false;
  want();
}

}  // namespace rvvm
