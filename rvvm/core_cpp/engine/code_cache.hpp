// Predecoded blocks of guest code by physical address, dropped when their bytes change.
#pragma once
#include <array>
#include <deque>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "isa/decode.hpp"
#include "memory/bus.hpp"

namespace rvvm {

struct Cpu;
struct Step;

// What executes one decoded instruction and goes on to the next; `left` is the budget after this
// block.
using Handler = void (*)(Cpu& cpu, const Step* step, u64 pc, i64 left);

struct Step {
  Handler run = nullptr;
  Insn insn;
  u32 rest = 0;  // instructions of the block after this one
};

struct Block {
  const Step* steps = nullptr;       // one more than instructions: it goes on behind the block
  u32 count = 0;                     // instructions
  mutable u32 heat = 0;              // times it was interpreted
  mutable const u8* code = nullptr;  // its translation
};

// What a translating engine keeps with a page, and loses with it. Offsets are within the page.
struct PageTranslations {
  std::unordered_map<u16, const u8*> entries;  // where code for an offset starts
  std::unordered_multimap<u16, u8*> waiting;   // jumps to offsets that have none yet
  std::vector<std::unique_ptr<Step[]>> steps;  // for what translated code leaves to handlers
};

// The steps of a page's blocks, side by side; they go with the page.
class StepStore {
 public:
  const Step* keep(const Step* steps, std::size_t count);
  std::size_t size() const { return size_; }

 private:
  static constexpr std::size_t chunk = 128;
  std::vector<std::unique_ptr<Step[]>> chunks_;
  std::span<Step> room_;  // in the last chunk
  std::size_t size_ = 0;
};

class CodeCache {
 public:
  static constexpr unsigned max_block = 64;
  static constexpr std::size_t max_steps = 2'000'000;  // about 64 MB

  CodeCache(Bus& bus, ExtSet extensions) : bus{bus}, extensions{extensions} {}

  // The block that starts here, made when there is none; nullptr when its first instruction crosses
  // the page.
  const Block* find(Hpa at);
  // Of the page that an earlier find() was in.
  PageTranslations& translations(Hpa at) { return page_at(at)->translations; }
  // The code for this place: an entry, and what its block is known by.
  void translated(Hpa at, const u8* code);
  // Stores to these bytes, too, drop the page.
  void cover(Hpa at, u64 size) {
    for (u64 line = (at.value & page_mask) / 64; line * 64 < (at.value & page_mask) + size; ++line)
      page_at(at)->code_lines |= u64{1} << line;
  }
  // Whether the last find() was the first in its page: stores to the page must now be seen.
  bool page_is_new() const { return page_is_new_; }
  // Bytes of RAM have changed; true when blocks were dropped.
  bool written(Hpa at, u64 size);
  bool holds(Hpa at) const { return pages_.contains(at.value / page_size); }
  void clear();
  // Dropped blocks stay until no hart can be inside one.
  void collect() { dropped_.clear(); }
  bool full() const { return steps_ > max_steps; }

  struct Stats {
    u64 blocks = 0, instructions = 0, dropped = 0;
  } stats;

 private:
  static constexpr unsigned lines = page_size / 64;
  // Sparse and found by chance, so small: pages are what the host's caches miss.
  struct Page {
    std::array<u16, page_size / 2> numbers{};  // of the blocks that start at an offset, from 1
    std::deque<Block> blocks;
    StepStore steps;
    u64 code_lines = 0;  // 64-byte lines that some block covers
    PageTranslations translations;
  };
  static_assert(lines == 64);

  Page* page_at(Hpa at);  // nullptr where there is none
  void build(Hpa at, Page& page);
  void drop(std::unordered_map<u64, std::unique_ptr<Page>>::iterator page);

  Bus& bus;
  ExtSet extensions;
  struct Recent {  // pages found lately, before the map is asked
    u64 number = ~u64{0};
    Page* page = nullptr;
  };
  std::unordered_map<u64, std::unique_ptr<Page>> pages_;
  std::array<Recent, 512> recent_{};
  std::vector<std::unique_ptr<Page>> dropped_;
  std::size_t steps_ = 0;
  bool page_is_new_ = false;
};

}  // namespace rvvm
