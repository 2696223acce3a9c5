// Code that all units share: the ways into translated code and out of it, and from it to functions
// of the core.
#pragma once
#include "engine/jit/layout.hpp"
#include "engine/quick_csr.hpp"

namespace rvvm::jit {

// What interpret() says: stay in this code, or where to go on; neither means leave.
struct Interpreted {
  u64 stay;
  const u8* code;
};

// The functions that translated code calls.
struct Callees {
  // Interprets the instructions at interpreted_places(); `left` is the budget behind the first.
  Interpreted (*interpret)(Cpu& cpu, const Step* step, u64 places, i64 left);
  // Code for a pc that the hart now goes to, nullptr to leave.
  const u8* (*resolve)(Cpu& cpu, u64 pc, i64 left);
  // From guest to host address for `size` bytes of one page, 0 when there is no way; the store's
  // bit is that of page_request().
  u64 (*host_delta)(Cpu& cpu, u64 address, u32 request);
  // CBO.ZERO of the block around the address: whether it is done, or left to its handler.
  u64 (*zero_block)(Cpu& cpu, u64 address);
  // A CSR instruction with this operand; `left` is the budget behind it.
  QuickCsr (*quick_csr)(Cpu& cpu, const Step* step, u64 operand, i64 left);
};
// An offset in the page, and how many more instructions follow the one there.
constexpr u64 interpreted_places(u16 offset, unsigned more) { return offset | u64{more} << 16; }
constexpr u32 page_request(u32 size, bool store) { return size << 1 | store; }

struct Thunks {
  // Runs from here until something leaves; cpu.hart.pc and cpu.left then say where.
  void (*enter)(Cpu& cpu, const u8* code, i64 left) = nullptr;
  // Jumped to: with an offset in the page, or a pc, in rax.
  const u8* leave_at_offset = nullptr;
  const u8* leave_at_pc = nullptr;
  const u8* resolve_pc = nullptr;
  // Called: rax the first step, rdx interpreted_places(), rcx the instructions since the budget was
  // brought up to date; returns when control goes on below.
  const u8* interpret = nullptr;
  // Called: rcx an address, edx a page_request(); rdx the way to the host, or 0. Keeps all else.
  const u8* host_delta = nullptr;
  // Called: rcx an address; rdx whether its block is zero now. Keeps all else.
  const u8* zero_block = nullptr;
  // Called: rax the step, rdx the operand, rcx as above; rax whether it is done, rdx what the CSR
  // was. Floating-point registers are in memory afterwards.
  const u8* quick_csr = nullptr;
  // Called: makes floating-point registers live; ZF when that cannot be.
  const u8* load_fp = nullptr;
};

Thunks emit_thunks(Emitter& e, const Layout& layout, const Callees& callees);

}  // namespace rvvm::jit
