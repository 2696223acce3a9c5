// The text of an instruction is its format's, letter by letter (formats.inc).
#include "isa/disasm.hpp"

#include <array>
#include <charconv>
#include <string_view>

namespace rvvm {
namespace {

using Names = std::array<std::string_view, 32>;

// RISC-V Calling Conventions, "Register Convention".
constexpr Names x_names{"zero", "ra", "sp", "gp", "tp",  "t0",  "t1", "t2", "s0", "s1", "a0",
                        "a1",   "a2", "a3", "a4", "a5",  "a6",  "a7", "s2", "s3", "s4", "s5",
                        "s6",   "s7", "s8", "s9", "s10", "s11", "t3", "t4", "t5", "t6"};
constexpr Names f_names{"ft0", "ft1", "ft2",  "ft3",  "ft4", "ft5", "ft6",  "ft7",
                        "fs0", "fs1", "fa0",  "fa1",  "fa2", "fa3", "fa4",  "fa5",
                        "fa6", "fa7", "fs2",  "fs3",  "fs4", "fs5", "fs6",  "fs7",
                        "fs8", "fs9", "fs10", "fs11", "ft8", "ft9", "ft10", "ft11"};

// Unprivileged ISA, Zfa, "Load-Immediate Instructions".
constexpr Names fli_constants{"-1.0",  "min",  "1.52587890625e-05", "3.0517578125e-05",
                              "0.00390625", "0.0078125", "0.0625", "0.125",
                              "0.25",  "0.3125", "0.375", "0.4375",
                              "0.5",   "0.625", "0.75",  "0.875",
                              "1.0",   "1.25",  "1.5",   "1.75",
                              "2.0",   "2.5",   "3.0",   "4.0",
                              "8.0",   "16.0",  "128.0", "256.0",
                              "32768.0", "65536.0", "inf", "nan"};

constexpr std::array<std::string_view, 8> rounding_modes{"rne", "rtz",      "rdn",      "rup",
                                                         "rmm", "reserved", "reserved", "dyn"};

constexpr std::array<std::string_view, 4> orderings{"", ".rl", ".aq", ".aqrl"};

struct CsrRow {
  u16 address;
  std::string_view name;
  int first, last, stride;  // the numbers of a range; first > last for a single register
};

constexpr CsrRow csr_rows[] = {
#define CSR(address, name, need, rule) {address, #name, 1, 0, 1},
#define CSR_RANGE(address, name, first, last, stride, need, rule) \
  {address, #name, first, last, stride},
#include "isa/csrs.inc"
#undef CSR
#undef CSR_RANGE
};

std::string hexadecimal(u64 value) {
  char digits[16];
  const auto end = std::to_chars(digits, digits + sizeof digits, value, 16).ptr;
  return "0x" + std::string(digits, end);
}

// One digit in decimal, more in hexadecimal.
std::string number(i64 value) {
  const u64 magnitude = value < 0 ? -static_cast<u64>(value) : static_cast<u64>(value);
  return (value < 0 ? "-" : "") + (magnitude < 10 ? std::to_string(magnitude)
                                                  : hexadecimal(magnitude));
}

std::string fence_set(unsigned set) {
  std::string text;
  for (unsigned bit = 0; bit < 4; ++bit)
    if (set & 8 >> bit) text += "iorw"[bit];
  return text.empty() ? "0" : text;
}

std::string operand(char letter, const Insn& insn, u64 pc) {
  switch (letter) {
    case 'd': return std::string(x_names[insn.rd]);
    case 's': return std::string(x_names[insn.rs1]);
    case 't': return std::string(x_names[insn.rs2]);
    case 'D': return std::string(f_names[insn.rd]);
    case 'S': return std::string(f_names[insn.rs1]);
    case 'T': return std::string(f_names[insn.rs2]);
    case 'U': return std::string(f_names[insn.rs3]);
    case 'i': return number(insn.imm);
    case 'h': return number(static_cast<u32>(insn.imm) >> 12);
    case 'j': return hexadecimal(pc + static_cast<u64>(i64{insn.imm}));
    case 'c': return csr_name(static_cast<u16>(insn.imm));
    case 'z': return number(insn.rs1);
    case 'k': return std::string(fli_constants[insn.rs1]);
    case 'm': return std::string(rounding_modes[insn.rm]);
    case 'r': return "rtz";
    case 'p': return fence_set(insn.imm >> 4 & 15);
    case 'q': return fence_set(insn.imm & 15);
    default: return std::string(1, letter);
  }
}

std::string suffix(const Insn& insn) {
  switch (row(insn.op).format) {
    case Format::Amo:
    case Format::AmoPair:
    case Format::Lr: return std::string(orderings[insn.rm]);
    case Format::MopR:
    case Format::MopRR: return "." + std::to_string(insn.imm);
    default: return "";
  }
}

std::string illegal(const Insn& insn) {
  return (insn.length == 2 ? ".2byte " : ".4byte ") + hexadecimal(insn.bits);
}

}  // namespace

std::string mnemonic(Op op) {
  std::string text(row(op).name);
  if (text.back() == '_') text.pop_back();
  for (char& letter : text)
    if (letter == '_') letter = '.';
  return text;
}

std::string csr_name(u16 address) {
  for (const CsrRow& r : csr_rows) {
    if (r.first > r.last && r.address == address) return std::string(r.name);
    const int number = r.first + (address - r.address);
    if (address >= r.address && number <= r.last && (address - r.address) % r.stride == 0)
      return std::string(r.name) + std::to_string(number);
  }
  return number(address);
}

std::string disassemble(const Insn& insn, u64 pc) {
  if (insn.op == Op::illegal) return illegal(insn);
  std::string text = mnemonic(insn.op) + suffix(insn);
  const std::string_view operands = row(row(insn.op).format).text;
  if (!operands.empty()) text += ' ';
  for (char letter : operands) text += operand(letter, insn, pc);
  return text;
}

}  // namespace rvvm
