#include "hart/plain_csrs.hpp"

#include "hart/csr_rules.hpp"

namespace rvvm {

namespace {

// From any supervisor CSR to its twin it is equally far, so that V=1 is an addend.
consteval bool twins_are_equally_far() {
  std::size_t offsets[0x300]{};
#define CSR(address, name, need, rule) \
  if constexpr (address < 0x300) offsets[address] = offsetof(CsrBank, name);
#define CSR_RANGE(address, name, first, last, stride, need, rule)
#include "isa/csrs.inc"
#undef CSR
#undef CSR_RANGE
  for (u16 address = 0; address < 0x300; ++address)
    if (const u16 twin = vs_twin(address);
        twin != address && offsets[twin] != offsets[address] + guest_bank)
      return false;
  return true;
}
static_assert(twins_are_equally_far(), "supervisor CSRs and their twins are in different order");

template <class Rule>
std::optional<PlainCsr> describe(u16 address, std::size_t offset, const ExtSet& have) {
  if constexpr (OnlyStores<Rule>) {
    const PlainMasks masks = Rule::masks(have);
    return PlainCsr{.offset = static_cast<u32>(offset),
                    .banked = vs_twin(address) != address,
                    .privilege = csr_privilege(address),
                    .read = masks.read,
                    .write = masks.write,
                    .read_only = csr_read_only(address)};
  }
  return std::nullopt;
}

u64& word_of(Hart& h, const PlainCsr& csr) {
  u8* bank = reinterpret_cast<u8*>(&h.csr);
  return *reinterpret_cast<u64*>(bank + csr.offset + (csr.banked ? h.csr_bank : 0));
}

}  // namespace

std::optional<PlainCsr> plain_csr(u16 address, const ExtSet& have) {
  using enum Ext;
#define CSR(number, name, need, rule)            \
  if (address == number && Need{need}.met(have)) \
    return describe<rule<Csr::name>>(address, offsetof(CsrBank, name), have);
#define CSR_RANGE(number, name, first, last, stride, need, rule) \
  static_assert(!OnlyStores<rule<Csr::name>>, "no range is plain");
#include "isa/csrs.inc"
#undef CSR
#undef CSR_RANGE
  return std::nullopt;
}

bool read_plain(const Hart& h, const PlainCsr& csr, u64& value) {
  if (h.csr_reach < csr.privilege) return false;
  value = word_of(const_cast<Hart&>(h), csr) & csr.read;
  return true;
}

bool write_plain(Hart& h, const PlainCsr& csr, u64 value) {
  if (h.csr_reach < csr.privilege || csr.read_only) return false;
  u64& word = word_of(h, csr);
  word = merge(word, value, csr.write);
  return true;
}

}  // namespace rvvm
