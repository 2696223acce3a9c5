// Predecoded blocks of guest code by physical address, dropped when their bytes change. Harts on
// several threads share them: what looks and adds holds the lock of all caches; what drops, runs
// while no hart executes.
#pragma once
#include <array>
#include <atomic>
#include <deque>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "isa/decode_memo.hpp"
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
  const Step* steps = nullptr;       // one more than instructions: it goes on behind
  u32 count = 0;                     // instructions; without steps as many as there can be
  mutable std::atomic<u32> heat{0};  // times it was interpreted
  mutable std::atomic<const u8*> code{nullptr};  // its translation
};

// Memory for steps, in pieces that the host maps by large pages. What code that is dropped gives
// back is used again.
class StepPool {
 public:
  static constexpr std::size_t chunk = 128;

  StepPool() = default;
  ~StepPool() { Piece{spare_.load()}; }
  StepPool(const StepPool&) = delete;

  Step* take();
  void give(Step* steps) { free_.push_back(steps); }
  // For another thread: has the host clear the next piece before somebody waits for it.
  void prepare() {
    if (!spare_.load(std::memory_order_relaxed)) spare_.store(make().release());
  }

 private:
  struct Unmap {
    void operator()(Step* piece) const;
  };
  using Piece = std::unique_ptr<Step, Unmap>;
  static Piece make();

  std::atomic<Step*> spare_{nullptr};
  std::vector<Piece> pieces_;
  std::vector<Step*> free_;
};

// The steps of one page's code, side by side; they go with the page.
class StepStore {
 public:
  explicit StepStore(StepPool& pool) : pool_{pool} {}
  ~StepStore();
  StepStore(const StepStore&) = delete;

  Step* room_for(std::size_t count);  // at most a chunk
  std::size_t size() const { return size_; }

 private:
  StepPool& pool_;
  std::vector<Step*> chunks_;
  std::size_t left_ = 0;  // in the last chunk
  std::size_t size_ = 0;
};

// What a translating engine keeps with a page, and loses with it. Offsets are within the page.
struct PageTranslations {
  PageTranslations(StepPool& pool, u64 serial) : steps{pool}, serial{serial} {}

  struct Waiting {
    u16 offset;
    u8* jump;
  };
  std::vector<Waiting> waiting;  // jumps to offsets that have no code yet
  StepStore steps;               // for what translated code leaves to handlers
  std::vector<u8*> guards;       // conditional jumps out, one at each entry
  struct Range {
    u16 from, to;
    bool operator==(const Range&) const = default;
  };
  std::vector<Range> under_way;  // is being translated
  std::vector<u16> seldom;       // branches back that were found to make no loop
  const u64 serial;              // no other page ever has it

  // Where code for an offset starts; the first that is entered stays.
  const u8* entry(u64 offset) const {
    const u16 number = numbers_ ? (*numbers_)[offset / 2] : 0;
    return number ? codes_[number - 1] : nullptr;
  }
  void enter(u64 offset, const u8* code) {
    if (entry(offset)) return;
    if (!numbers_) numbers_ = std::make_unique<std::array<u16, page_size / 2>>();
    codes_.push_back(code);
    (*numbers_)[offset / 2] = static_cast<u16>(codes_.size());
  }
  // Makes every entry leave at once, for who still knows a way to it.
  void close() const;

 private:
  // Pages are many and entries few.
  std::unique_ptr<std::array<u16, page_size / 2>> numbers_;  // of the entry at an offset, from 1
  std::vector<const u8*> codes_;
};

class CodeCache {
 public:
  static constexpr unsigned max_block = 64;
  static constexpr std::size_t max_steps = 2'000'000;  // about 64 MB

  CodeCache(Bus& bus, ExtSet extensions, std::mutex& mutex)
      : decoded{extensions}, mutex{mutex}, bus{bus} {}

  // The block that starts here, made when there is none; nullptr when its first instruction crosses
  // the page. One that has been translated may have no steps, unless they are wanted. False, and
  // nothing, when stores to the page would not be noticed: see StoreListener::code_translated.
  bool find(Hpa at, bool steps_wanted, const Block*& block);

  DecodeMemo decoded;  // wants the lock

  // The next three want the lock. Of the page that an earlier find() was in.
  PageTranslations& translations(Hpa at) { return page_at(at)->translations; }
  // Whether it is still the one that it was.
  bool has_page(Hpa at, u64 serial) {
    const Page* page = page_at(at);
    return page && page->translations.serial == serial;
  }
  // The code for this place: an entry, and what its block is known by.
  void translated(Hpa at, const u8* code);
  // Translated code for this place, nullptr where there is none.
  const u8* entry(Hpa at) {
    const Page* page = page_at(at);
    return page ? page->translations.entry(at.value & page_mask) : nullptr;
  }
  // How often the block that starts here has been interpreted.
  u32 heat(Hpa at) {
    const Page& page = *page_at(at);
    const u16 number = page.numbers[(at.value & page_mask) / 2];
    return number ? page.blocks[number - 1].heat.load(std::memory_order_relaxed) : 0;
  }
  // Stores to these bytes, too, drop the page.
  void cover(Hpa at, u64 size) {
    for (u64 line = (at.value & page_mask) / 64; line * 64 < (at.value & page_mask) + size; ++line)
      page_at(at)->code_lines |= u64{1} << line;
  }
  // Whether a store to these bytes would change some block; whether a page has any. With the lock.
  bool covers(Hpa at, u64 size) const;
  bool holds(Hpa at) const { return pages_.contains(at.value / page_size); }
  // Bytes of RAM have changed; true when blocks were dropped.
  bool written(Hpa at, u64 size);
  void clear();
  // Dropped blocks stay until no hart can be inside one.
  void collect();
  void prepare() { pool_.prepare(); }  // by another thread, for what is to come
  std::size_t dropped() const { return garbage_.load(std::memory_order_relaxed); }
  bool full() const { return steps_.load(std::memory_order_relaxed) > max_steps; }

  std::mutex& mutex;  // one for all caches, and for the engine that translates what is in them

  struct Stats {
    u64 blocks = 0, instructions = 0, dropped = 0;
  } stats;

 private:
  static constexpr unsigned lines = page_size / 64;
  // Sparse and found by chance, so small: pages are what the host's caches miss.
  struct Page {
    Page(StepPool& pool, u64 serial) : steps{pool}, translations{pool, serial} {}
    std::array<u16, page_size / 2> numbers{};  // of the blocks that start at an offset, from 1
    std::deque<Block> blocks;
    StepStore steps;
    u64 code_lines = 0;  // 64-byte lines that some block covers
    PageTranslations translations;
  };
  static_assert(lines == 64);

  template <class Visit> void each_covered(Hpa at, u64 size, Visit visit) const;
  Page* page_at(Hpa at);  // nullptr where there is none
  void build(Hpa at, Page& page, Block& block);
  void drop(u64 number);

  Bus& bus;
  struct Recent {  // pages found lately, before the map is asked
    u64 number = ~u64{0};
    Page* page = nullptr;
  };
  StepPool pool_;
  std::unordered_map<u64, std::unique_ptr<Page>> pages_;
  std::array<Recent, 4096> recent_{};
  std::vector<std::unique_ptr<Page>> dropped_;
  u64 serials_ = 0;                                 // the last one
  std::atomic<std::size_t> steps_{0}, garbage_{0};  // garbage_: of dropped_
};

}  // namespace rvvm
