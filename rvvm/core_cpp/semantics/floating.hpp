// The bodies of F, D, Zfh (Zfhmin) and Zfa.
//
// Unprivileged spec, chapters "F", "D", "Zfh and Zfhmin", "Zfa".
//
// What a model owes `m.template fp<Tag>(i)`, Tag being one of float_operations.hpp; the caller has
// already checked mstatus.FS:
//
//   template <class Tag> void fp(const Insn& i) {
//     fp::Env env{Tag::rounds ? fp::resolve(i.rm, frm) : u8{fp::RNE}, 0};
//     if (fp::reserved(env.rm)) return illegal();
//     const u64 value = fp::evaluate<Tag>(env, fflags, read<Tag::from[0]>(i.rs1),
//                                        read<Tag::from[1]>(i.rs2), read<Tag::from[2]>(i.rs3));
//     if constexpr (Tag::to == fp::Operand::x) x(i.rd, value);
//     else f(i.rd, value);                             // marks FS dirty
//     fflags |= env.flags;                             // marks FS dirty when it changes
//   }
//
// where read<Operand> gives x[r] for Operand::x, 0 for Operand::none, otherwise all of f[r]: boxes
// are opened and closed by `evaluate`. Operations without an rm field (sgnj, min, max, comparisons,
// class, fcvtmod) have Tag::rounds == false: their funct3 bits are not a rounding mode, and a
// reserved frm does not concern them. Moves, constants, loads and stores need no `fp`.
#pragma once

#include "isa/decode.hpp"
#include "semantics/float_evaluate.hpp"
#include "semantics/values.hpp"

namespace rvvm {

#define BODY(name, ...) \
  template <class M> void name(M& m, const Insn& i) { m.template fp<fp::__VA_ARGS__>(i); }

// One instruction in three formats: name_h, name_s, name_d.
#define BODIES(name, Tag, ...)                            \
  BODY(name##_h, Tag<fp::F16 __VA_OPT__(, ) __VA_ARGS__>) \
  BODY(name##_s, Tag<fp::F32 __VA_OPT__(, ) __VA_ARGS__>) \
  BODY(name##_d, Tag<fp::F64 __VA_OPT__(, ) __VA_ARGS__>)

BODIES(fadd, Add)
BODIES(fsub, Sub)
BODIES(fmul, Mul)
BODIES(fdiv, Div)
BODIES(fsqrt, Sqrt)
BODIES(fmadd, MAdd)
BODIES(fmsub, MSub)
BODIES(fnmsub, NMSub)
BODIES(fnmadd, NMAdd)

BODIES(fmin, Min)
BODIES(fmax, Max)
BODIES(fminm, MinM)
BODIES(fmaxm, MaxM)
BODIES(fsgnj, Sgnj)
BODIES(fsgnjn, SgnjN)
BODIES(fsgnjx, SgnjX)

BODIES(feq, Eq)
BODIES(flt, Lt)
BODIES(fle, Le)
BODIES(fltq, LtQ)
BODIES(fleq, LeQ)
BODIES(fclass, Class)

BODIES(fround, Round)
BODIES(froundnx, RoundNX)

BODIES(fcvt_w, ToInteger, i32)
BODIES(fcvt_wu, ToInteger, u32)
BODIES(fcvt_l, ToInteger, i64)
BODIES(fcvt_lu, ToInteger, u64)
BODY(fcvtmod_w_d, ToIntegerModular)

BODY(fcvt_h_w, FromInteger<fp::F16, i32>)
BODY(fcvt_h_wu, FromInteger<fp::F16, u32>)
BODY(fcvt_h_l, FromInteger<fp::F16, i64>)
BODY(fcvt_h_lu, FromInteger<fp::F16, u64>)
BODY(fcvt_s_w, FromInteger<fp::F32, i32>)
BODY(fcvt_s_wu, FromInteger<fp::F32, u32>)
BODY(fcvt_s_l, FromInteger<fp::F32, i64>)
BODY(fcvt_s_lu, FromInteger<fp::F32, u64>)
BODY(fcvt_d_w, FromInteger<fp::F64, i32>)
BODY(fcvt_d_wu, FromInteger<fp::F64, u32>)
BODY(fcvt_d_l, FromInteger<fp::F64, i64>)
BODY(fcvt_d_lu, FromInteger<fp::F64, u64>)

BODY(fcvt_h_s, Convert<fp::F16, fp::F32>)
BODY(fcvt_h_d, Convert<fp::F16, fp::F64>)
BODY(fcvt_s_h, Convert<fp::F32, fp::F16>)
BODY(fcvt_s_d, Convert<fp::F32, fp::F64>)
BODY(fcvt_d_h, Convert<fp::F64, fp::F16>)
BODY(fcvt_d_s, Convert<fp::F64, fp::F32>)

#undef BODIES
#undef BODY

// Moves "do not modify the bits being transferred"; "a narrower n-bit transfer out of the
// floating-point registers will transfer the lower n bits of the register ignoring the upper".
template <class M> void fmv_x_h(M& m, const Insn& i) { m.x(i.rd, sext16(m.f(i.rs1))); }
template <class M> void fmv_x_w(M& m, const Insn& i) { m.x(i.rd, sext32(m.f(i.rs1))); }
template <class M> void fmv_x_d(M& m, const Insn& i) { m.x(i.rd, m.f(i.rs1)); }
template <class M> void fmv_h_x(M& m, const Insn& i) {
  m.f(i.rd, m.x(i.rs1) | fp::boxing<fp::F16>);
}
template <class M> void fmv_w_x(M& m, const Insn& i) {
  m.f(i.rd, m.x(i.rs1) | fp::boxing<fp::F32>);
}
template <class M> void fmv_d_x(M& m, const Insn& i) { m.f(i.rd, m.x(i.rs1)); }

template <class M> void fli_h(M& m, const Insn& i) {
  m.f(i.rd, fp::box<fp::F16>(fp::constants_of<fp::F16>[i.rs1]));
}
template <class M> void fli_s(M& m, const Insn& i) {
  m.f(i.rd, fp::box<fp::F32>(fp::constants_of<fp::F32>[i.rs1]));
}
template <class M> void fli_d(M& m, const Insn& i) { m.f(i.rd, fp::constants_of<fp::F64>[i.rs1]); }

// Loads box what they read; stores, like moves, take the low bits as they are.
template <class M> void flh(M& m, const Insn& i) {
  m.template load_f<u16>(i.rd, m.x(i.rs1) + i.imm);
}
template <class M> void flw(M& m, const Insn& i) {
  m.template load_f<u32>(i.rd, m.x(i.rs1) + i.imm);
}
template <class M> void fld(M& m, const Insn& i) {
  m.template load_f<u64>(i.rd, m.x(i.rs1) + i.imm);
}
template <class M> void fsh(M& m, const Insn& i) {
  m.template store<u16>(m.x(i.rs1) + i.imm, m.f(i.rs2));
}
template <class M> void fsw(M& m, const Insn& i) {
  m.template store<u32>(m.x(i.rs1) + i.imm, m.f(i.rs2));
}
template <class M> void fsd(M& m, const Insn& i) {
  m.template store<u64>(m.x(i.rs1) + i.imm, m.f(i.rs2));
}

}  // namespace rvvm
