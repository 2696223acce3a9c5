"""What every integer instruction does, written from the unprivileged manual alone.

Words are read by the manual's figures and values are Python integers; nothing here asks the core.
Chapters of the unprivileged manual stand above each table. `MODEL` has an effect for every row that
is neither floating point nor privileged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

ONES = (1 << 64) - 1
LOW = (1 << 32) - 1
BLOCK = 64  # Zic64b

Effect = Callable[["Machine", int], None]
Binary = Callable[[int, int], int]


def signed(value: int, width: int = 64) -> int:
    """The two's complement number in the low `width` bits."""
    value &= (1 << width) - 1
    return value - (value >> (width - 1) << width)


def extended(value: int, width: int) -> int:
    """Sign-extended to 64 bits."""
    return signed(value, width) & ONES


# Chapter "RV32I", "Immediate Encoding Variants": where imm[high:low] lies in the instruction.

LAYOUTS: dict[str, tuple[tuple[int, int, int], ...]] = {
    "I": ((20, 11, 0),),
    "S": ((25, 11, 5), (7, 4, 0)),
    "B": ((31, 12, 12), (25, 10, 5), (8, 4, 1), (7, 11, 11)),
    "U": ((12, 31, 12),),
    "J": ((31, 20, 20), (21, 10, 1), (20, 11, 11), (12, 19, 12)),
    "shamt": ((20, 5, 0),),  # "RV64I": six bits of shift amount,
    "shamtw": ((20, 4, 0),),  # five for the W instructions
}


def immediate(layout: str, word: int) -> int:
    parts = LAYOUTS[layout]
    value = sum((word >> at & (2 << high - low) - 1) << low for at, high, low in parts)
    return value if layout.startswith("shamt") else signed(value, max(p[1] for p in parts) + 1)


def placed(layout: str, value: int) -> int:
    """The instruction bits of an immediate."""
    return sum((value >> low & (2 << high - low) - 1) << at for at, high, low in LAYOUTS[layout])


class Memory:
    """Little-endian bytes in separate regions."""

    def __init__(self, regions: Mapping[int, bytes]) -> None:
        self.regions = {base: bytearray(data) for base, data in regions.items()}

    def _find(self, address: int) -> tuple[bytearray, int]:
        for base, data in self.regions.items():
            if base <= address < base + len(data):
                return data, address - base
        raise IndexError(f"no memory at {address:#x}")

    def read(self, address: int, size: int) -> int:
        data, at = self._find(address & ONES)
        return int.from_bytes(data[at : at + size], "little")

    def write(self, address: int, size: int, value: int) -> None:
        data, at = self._find(address & ONES)
        data[at : at + size] = (value & (1 << 8 * size) - 1).to_bytes(size, "little")


@dataclass
class Machine:
    """The integer state of one hart and its memory."""

    memory: Memory
    pc: int
    x: list[int] = field(default_factory=lambda: [0] * 32)
    following: int = 0  # the next pc, while an instruction executes
    reserved: int | None = None
    retired: int = 0

    def set(self, word: int, value: int) -> None:
        """Write rd: "Register x0 is hardwired with all bits equal to 0"."""
        if number := word >> 7 & 31:
            self.x[number] = value & ONES

    def rs1(self, word: int) -> int:
        return self.x[word >> 15 & 31]

    def rs2(self, word: int) -> int:
        return self.x[word >> 20 & 31]

    def execute(self, name: str, word: int, length: int = 4) -> None:
        """One instruction: `word` is its 32-bit form, `length` what it occupies."""
        self.following = (self.pc + length) & ONES
        MODEL[name](self, word)
        self.pc = self.following
        self.retired += 1


# "RV32I", "RV64I": integer computation.


def add(a: int, b: int) -> int:
    return a + b


def addw(a: int, b: int) -> int:
    return extended(a + b, 32)


def less(a: int, b: int) -> int:
    return int(signed(a) < signed(b))


def below(a: int, b: int) -> int:
    return int(a < b & ONES)


def sll(a: int, b: int) -> int:
    return a << (b & 63)


def srl(a: int, b: int) -> int:
    return a >> (b & 63)


def sra(a: int, b: int) -> int:
    return signed(a) >> (b & 63)


def sllw(a: int, b: int) -> int:
    return extended(a << (b & 31), 32)


def srlw(a: int, b: int) -> int:
    return extended((a & LOW) >> (b & 31), 32)


def sraw(a: int, b: int) -> int:
    return signed(a, 32) >> (b & 31)


BASE: dict[str, Binary] = {
    "add": add,
    "sub": lambda a, b: a - b,
    "addw": addw,
    "subw": lambda a, b: extended(a - b, 32),
    "slt": less,
    "sltu": below,
    "sll": sll,
    "srl": srl,
    "sra": sra,
    "sllw": sllw,
    "srlw": srlw,
    "sraw": sraw,
    "and_": lambda a, b: a & b,
    "or_": lambda a, b: a | b,
    "xor_": lambda a, b: a ^ b,
}

# "M": multiplication; the results of division by zero and of overflow stand in its table.


def quotient(a: int, b: int) -> int:
    """Rounded towards zero; "The quotient of division by zero has all bits set"."""
    if b == 0:
        return -1
    return -(abs(a) // abs(b)) if (a < 0) != (b < 0) else abs(a) // abs(b)


def remainder(a: int, b: int) -> int:
    """ "the remainder of division by zero equals the dividend"; its sign is the dividend's."""
    return a - b * quotient(a, b) if b else a


def division(f: Binary, width: int, *, unsigned: bool) -> Binary:
    def apply(a: int, b: int) -> int:
        if unsigned:
            mask = (1 << width) - 1
            return extended(f(a & mask, b & mask), width)
        return extended(f(signed(a, width), signed(b, width)), width)

    return apply


MULTIPLY: dict[str, Binary] = {
    "mul": lambda a, b: a * b,
    "mulh": lambda a, b: signed(a) * signed(b) >> 64,
    "mulhu": lambda a, b: a * b >> 64,
    "mulhsu": lambda a, b: signed(a) * b >> 64,
    "mulw": lambda a, b: extended(a * b, 32),
    "div": division(quotient, 64, unsigned=False),
    "divu": division(quotient, 64, unsigned=True),
    "rem": division(remainder, 64, unsigned=False),
    "remu": division(remainder, 64, unsigned=True),
    "divw": division(quotient, 32, unsigned=False),
    "divuw": division(quotient, 32, unsigned=True),
    "remw": division(remainder, 32, unsigned=False),
    "remuw": division(remainder, 32, unsigned=True),
}

# "B": Zba, Zbb, Zbc and Zbs; "Cryptography Extensions": Zbkb, Zbkc and Zbkx; "Zicond".


def rotated(a: int, right: int, width: int) -> int:
    a, right = a & (1 << width) - 1, right % width
    return extended(a >> right | a << (width - right), width)


def ror(a: int, b: int) -> int:
    return rotated(a, b, 64)


def rorw(a: int, b: int) -> int:
    return rotated(a, b, 32)


def carryless(a: int, b: int) -> int:
    """The product of polynomials over GF(2), 127 bits of it."""
    product = 0
    for place in range(64):
        if b >> place & 1:
            product ^= a << place
    return product


def permuted(a: int, b: int, width: int) -> int:
    """xperm: each element of b picks one of a; zero when its index is out of range."""
    lanes = 64 // width
    pick = [b >> k * width & (1 << width) - 1 for k in range(lanes)]
    lane = [a >> k * width & (1 << width) - 1 for k in range(lanes)]
    return sum((lane[p] if p < lanes else 0) << k * width for k, p in enumerate(pick))


def bclr(a: int, b: int) -> int:
    return a & ~(1 << (b & 63))


def bext(a: int, b: int) -> int:
    return a >> (b & 63) & 1


def binv(a: int, b: int) -> int:
    return a ^ 1 << (b & 63)


def bset(a: int, b: int) -> int:
    return a | 1 << (b & 63)


BITS: dict[str, Binary] = {
    "add_uw": lambda a, b: b + (a & LOW),
    "sh1add": lambda a, b: b + (a << 1),
    "sh2add": lambda a, b: b + (a << 2),
    "sh3add": lambda a, b: b + (a << 3),
    "sh1add_uw": lambda a, b: b + ((a & LOW) << 1),
    "sh2add_uw": lambda a, b: b + ((a & LOW) << 2),
    "sh3add_uw": lambda a, b: b + ((a & LOW) << 3),
    "andn": lambda a, b: a & ~b,
    "orn": lambda a, b: a | ~b,
    "xnor": lambda a, b: ~(a ^ b),
    "max": lambda a, b: max(signed(a), signed(b)),
    "min": lambda a, b: min(signed(a), signed(b)),
    "maxu": max,
    "minu": min,
    "rol": lambda a, b: rotated(a, -b, 64),
    "rolw": lambda a, b: rotated(a, -b, 32),
    "ror": ror,
    "rorw": rorw,
    "clmul": carryless,
    "clmulh": lambda a, b: carryless(a, b) >> 64,
    "clmulr": lambda a, b: carryless(a, b) >> 63,
    "bclr": bclr,
    "bext": bext,
    "binv": binv,
    "bset": bset,
    "pack": lambda a, b: a & LOW | (b & LOW) << 32,
    "packh": lambda a, b: a & 0xFF | (b & 0xFF) << 8,
    "packw": lambda a, b: extended(a & 0xFFFF | (b & 0xFFFF) << 16, 32),
    "xperm4": lambda a, b: permuted(a, b, 4),
    "xperm8": lambda a, b: permuted(a, b, 8),
    "czero_eqz": lambda a, b: 0 if b == 0 else a,
    "czero_nez": lambda a, b: 0 if b != 0 else a,
}


def leading(a: int, width: int) -> int:
    return width - (a & (1 << width) - 1).bit_length()


def trailing(a: int, width: int) -> int:
    return next((place for place in range(width) if a >> place & 1), width)


def each_byte(f: Callable[[int], int], a: int) -> int:
    return int.from_bytes(bytes(map(f, a.to_bytes(8, "little"))), "little")


def mirrored(byte: int) -> int:
    return int(f"{byte:08b}"[::-1], 2)


UNARY: dict[str, Callable[[int], int]] = {
    "clz": lambda a: leading(a, 64),
    "clzw": lambda a: leading(a, 32),
    "ctz": lambda a: trailing(a, 64),
    "ctzw": lambda a: trailing(a, 32),
    "cpop": lambda a: a.bit_count(),
    "cpopw": lambda a: (a & LOW).bit_count(),
    "sext_b": lambda a: extended(a, 8),
    "sext_h": lambda a: extended(a, 16),
    "zext_h": lambda a: a & 0xFFFF,
    "orc_b": lambda a: each_byte(lambda byte: 0xFF if byte else 0, a),
    "brev8": lambda a: each_byte(mirrored, a),
    "rev8": lambda a: int.from_bytes(a.to_bytes(8, "little"), "big"),
    "mop_r": lambda a: 0,  # "Zimop": "simply write zero to x[rd]"
}

IMMEDIATES: dict[str, tuple[str, Binary]] = {
    "addi": ("I", add),
    "addiw": ("I", addw),
    "slti": ("I", less),
    "sltiu": ("I", below),
    "andi": ("I", lambda a, b: a & b),
    "ori": ("I", lambda a, b: a | b),
    "xori": ("I", lambda a, b: a ^ b),
    "slli": ("shamt", sll),
    "srli": ("shamt", srl),
    "srai": ("shamt", sra),
    "slliw": ("shamtw", sllw),
    "srliw": ("shamtw", srlw),
    "sraiw": ("shamtw", sraw),
    "slli_uw": ("shamt", lambda a, b: (a & LOW) << b),
    "rori": ("shamt", ror),
    "roriw": ("shamtw", rorw),
    "bclri": ("shamt", bclr),
    "bexti": ("shamt", bext),
    "binvi": ("shamt", binv),
    "bseti": ("shamt", bset),
}

# "RV32I", "RV64I": control transfer, load and store. Bits, and whether a load sign-extends.

BRANCHES: dict[str, Binary] = {
    "beq": lambda a, b: a == b,
    "bne": lambda a, b: a != b,
    "blt": less,
    "bge": lambda a, b: not less(a, b),
    "bltu": below,
    "bgeu": lambda a, b: a >= b,
}
LOADS = {"lb": 8, "lh": 16, "lw": 32, "ld": 64}
UNSIGNED_LOADS = {"lbu": 8, "lhu": 16, "lwu": 32}
STORES = {"sb": 8, "sh": 16, "sw": 32, "sd": 64}

# "A", "Zabha", "Zacas". The operands of an AMO come sign-extended from their width, which keeps the
# order of unsigned ones.

WIDTHS = {"b": 8, "h": 16, "w": 32, "d": 64}
AMOS: dict[str, Binary] = {
    "swap": lambda a, b: b,
    "add": add,
    "and": lambda a, b: a & b,
    "or": lambda a, b: a | b,
    "xor": lambda a, b: a ^ b,
    "min": lambda a, b: min(signed(a), signed(b)),
    "max": lambda a, b: max(signed(a), signed(b)),
    "minu": min,
    "maxu": max,
}

# Hints, and ordering of what is in order: "Zifencei", "Zihintpause", "Zihintntl", "CMO".
NOTHING = ["fence", "fence_tso", "fence_i", "pause", "ntl_p1", "ntl_pall", "ntl_s1", "ntl_all"]
NOTHING += ["prefetch_i", "prefetch_r", "prefetch_w", "cbo_inval", "cbo_clean", "cbo_flush"]


def on_registers(f: Binary) -> Effect:
    return lambda m, word: m.set(word, f(m.rs1(word), m.rs2(word)))


def on_register(f: Callable[[int], int]) -> Effect:
    return lambda m, word: m.set(word, f(m.rs1(word)))


def on_immediate(layout: str, f: Binary) -> Effect:
    return lambda m, word: m.set(word, f(m.rs1(word), immediate(layout, word)))


def branch(f: Binary) -> Effect:
    def effect(m: Machine, word: int) -> None:
        if f(m.rs1(word), m.rs2(word)):
            m.following = (m.pc + immediate("B", word)) & ONES

    return effect


def load(width: int, *, unsigned: bool) -> Effect:
    def effect(m: Machine, word: int) -> None:
        value = m.memory.read(m.rs1(word) + immediate("I", word), width // 8)
        m.set(word, value if unsigned else extended(value, width))

    return effect


def store(width: int) -> Effect:
    def effect(m: Machine, word: int) -> None:
        m.memory.write(m.rs1(word) + immediate("S", word), width // 8, m.rs2(word))

    return effect


def amo(f: Binary, width: int) -> Effect:
    def effect(m: Machine, word: int) -> None:
        address = m.rs1(word)
        old = extended(m.memory.read(address, width // 8), width)
        m.memory.write(address, width // 8, f(old, extended(m.rs2(word), width)))
        m.set(word, old)

    return effect


def load_reserved(width: int) -> Effect:
    def effect(m: Machine, word: int) -> None:
        m.reserved = m.rs1(word)
        m.set(word, extended(m.memory.read(m.reserved, width // 8), width))

    return effect


def store_conditional(width: int) -> Effect:
    """Fails with "1 (unspecified failure)"; in any case the reservation is gone."""

    def effect(m: Machine, word: int) -> None:
        address, held = m.rs1(word), m.reserved
        if held == address:
            m.memory.write(address, width // 8, m.rs2(word))
        m.reserved = None
        m.set(word, int(held != address))

    return effect


def compare_and_swap(width: int) -> Effect:
    def effect(m: Machine, word: int) -> None:
        address, mask = m.rs1(word), (1 << width) - 1
        old = m.memory.read(address, width // 8)
        if old == m.x[word >> 7 & 31] & mask:
            m.memory.write(address, width // 8, m.rs2(word))
        m.set(word, extended(old, width))

    return effect


def pair(m: Machine, number: int) -> int:
    """ "If the first register of a source register pair is x0, then both halves read as zero"."""
    return m.x[number] | m.x[number + 1] << 64 if number else 0


def amocas_q(m: Machine, word: int) -> None:
    """ "If the first register of the destination pair is x0, then the entire register result is
    discarded and neither destination register is written"."""
    address, rd = m.rs1(word), word >> 7 & 31
    old = m.memory.read(address, 16)
    if old == pair(m, rd):
        m.memory.write(address, 16, pair(m, word >> 20 & 31))
    if rd:
        m.x[rd], m.x[rd + 1] = old & ONES, old >> 64


def cbo_zero(m: Machine, word: int) -> None:
    """ "CMO": "performs stores of zeros to the full set of bytes" of the block."""
    m.memory.write(m.rs1(word) & -BLOCK, BLOCK, 0)


def jal(m: Machine, word: int) -> None:
    m.set(word, m.following)
    m.following = (m.pc + immediate("J", word)) & ONES


def jalr(m: Machine, word: int) -> None:
    target = (m.rs1(word) + immediate("I", word)) & ONES & ~1
    m.set(word, m.following)
    m.following = target


def lui(m: Machine, word: int) -> None:
    m.set(word, immediate("U", word))


def auipc(m: Machine, word: int) -> None:
    m.set(word, m.pc + immediate("U", word))


def nothing(m: Machine, word: int) -> None:
    pass


MODEL: dict[str, Effect] = {
    **{name: on_registers(f) for name, f in (BASE | MULTIPLY | BITS).items()},
    "mop_rr": on_registers(lambda a, b: 0),
    **{name: on_register(f) for name, f in UNARY.items()},
    **{name: on_immediate(*how) for name, how in IMMEDIATES.items()},
    **{name: branch(f) for name, f in BRANCHES.items()},
    **{name: load(width, unsigned=False) for name, width in LOADS.items()},
    **{name: load(width, unsigned=True) for name, width in UNSIGNED_LOADS.items()},
    **{name: store(width) for name, width in STORES.items()},
    **{f"amo{op}_{w}": amo(f, n) for op, f in AMOS.items() for w, n in WIDTHS.items()},
    **{f"amocas_{w}": compare_and_swap(n) for w, n in WIDTHS.items()},
    **{f"lr_{w}": load_reserved(WIDTHS[w]) for w in "wd"},
    **{f"sc_{w}": store_conditional(WIDTHS[w]) for w in "wd"},
    **dict.fromkeys(NOTHING, nothing),
    "amocas_q": amocas_q,
    "cbo_zero": cbo_zero,
    "jal": jal,
    "jalr": jalr,
    "lui": lui,
    "auipc": auipc,
}
