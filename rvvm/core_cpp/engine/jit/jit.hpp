// The translating engine: interprets a block until it is hot, then runs it as x86-64 code.
#pragma once
#include <cstdio>

#include "engine/interpreter.hpp"
#include "engine/jit/code_buffer.hpp"
#include "engine/jit/translator.hpp"
#include "engine/jit/workshop.hpp"

namespace rvvm::jit {

class Jit final : public Interpreter {
 public:
  static constexpr std::size_t default_size = 64 << 20;

  explicit Jit(const Options& options = {}, std::size_t size = default_size);
  ~Jit() override;

  bool full() const override { return full_; }
  void code_dropped() override { buffer_.synchronize(); }
  void forget() override;  // the caches of code have been cleared
  void clear_ahead(u8* ram_part) override {
    if (workshop_) workshop_->clear_ahead(ram_part);
  }
  TranslationStats translation_stats() const override { return stats_; }

 private:
  void run_entry(Cpu& cpu, JumpEntry& entry, i64 left) override;
  const u8* code_for(Cpu& cpu, const Block& block);
  // From the pc on; nothing where the fetch traps.
  std::optional<Job> job_for(Cpu& cpu, Hpa at);
  void translate(Unit& unit);
  void install(const Job& job);
  void install_done();
  bool open_workshop();
  void prepare(const Cpu& cpu);
  void note_for_perf(const u8* from, std::size_t size, u64 pc);

  Options options_;
  CodeBuffer buffer_;
  bool prepared_ = false;
  Layout layout_{};
  Thunks thunks_{};
  Emitter emitter_;
  Translator translator_{emitter_, layout_, thunks_, options_};
  u8* first_ = nullptr;  // behind the thunks
  std::atomic<bool> full_{false};
  TranslationStats stats_;
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  std::unique_ptr<std::FILE, Close> perf_map_;
  std::unique_ptr<Workshop> workshop_;  // its thread uses the emitter and the translator
};

}  // namespace rvvm::jit
