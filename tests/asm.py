"""A small assembler for the tests, driven by the core's own table of instructions.

The rows of ``rvvm._core.instructions()`` give every field by letter, so an instruction that joins
the table can be assembled at once.  The syntax is the usual one::

    start:  li      t0, 0x8000
            csrrs   a0, mstatus, t0
            ld      a1, 8(sp)
            beq     a0, a1, start
            amoadd.d.aqrl a0, a1, (a2)
            fcvt.l.d a0, fa0, rdn

with the pseudo-instructions of `PSEUDO` and the directives .half .word .dword .zero .align .org.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

_ABI = (
    "zero ra sp gp tp t0 t1 t2 s0 s1 a0 a1 a2 a3 a4 a5 a6 a7 "
    "s2 s3 s4 s5 s6 s7 s8 s9 s10 s11 t3 t4 t5 t6"
)
_FP_ABI = (
    "ft0 ft1 ft2 ft3 ft4 ft5 ft6 ft7 fs0 fs1 fa0 fa1 fa2 fa3 fa4 fa5 fa6 fa7 "
    "fs2 fs3 fs4 fs5 fs6 fs7 fs8 fs9 fs10 fs11 ft8 ft9 ft10 ft11"
)
REGISTERS: dict[str, int] = (
    {name: n for n, name in enumerate(_ABI.split())}
    | {name: n for n, name in enumerate(_FP_ABI.split())}
    | {f"x{n}": n for n in range(32)}
    | {f"f{n}": n for n in range(32)}
    | {"fp": 8}
)

#: pseudo-instruction -> what it stands for; {0} {1} ... are its operands.
PSEUDO: dict[str, str] = {
    "nop": "addi x0, x0, 0",
    "mv": "addi {0}, {1}, 0",
    "j": "jal x0, {0}",
    "call": "jal ra, {0}",
    "jr": "jalr x0, 0({0})",
    "ret": "jalr x0, 0(ra)",
    "beqz": "beq {0}, x0, {1}",
    "bnez": "bne {0}, x0, {1}",
    "csrr": "csrrs {0}, {1}, x0",
    "csrw": "csrrw x0, {0}, {1}",
    "csrs": "csrrs x0, {0}, {1}",
    "csrc": "csrrc x0, {0}, {1}",
    "csrwi": "csrrwi x0, {0}, {1}",
    "csrsi": "csrrsi x0, {0}, {1}",
    "csrci": "csrrci x0, {0}, {1}",
}

#: rounding modes, which an instruction may name behind its operands; else it is dynamic
ROUNDING = {"rne": 0, "rtz": 1, "rdn": 2, "rup": 3, "rmm": 4, "dyn": 7}

_SIZES = {".half": 2, ".word": 4, ".dword": 8}
_FENCE_BITS = {"i": 8, "o": 4, "r": 2, "w": 1}
_BRANCH, _JAL, _JALR = 0b1100011, 0b1101111, 0b1100111
_LOADS, _STORES, _AMO = (0b0000011, 0b0000111), (0b0100011, 0b0100111), 0b0101111
#: order of the immediate's bits, from instruction bit 31 down, where it is not the plain order
_B_ORDER = (12, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 11)
_J_ORDER = (20, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 11, 19, 18, 17, 16, 15, 14, 13, 12)


class AsmError(ValueError):
    """A line that this assembler cannot read."""


@dataclass(frozen=True)
class Row:
    """One row of the instruction table: the fixed bits and where each field letter lies."""

    name: str
    match: int
    fields: dict[str, tuple[int, ...]]  # letter -> instruction bits, most significant first

    @property
    def opcode(self) -> int:
        return self.match & 0x7F

    def operands(self) -> list[str]:
        """The operands in the order in which assembly writes them."""
        have = self.fields
        if "c" in have:
            return ["d", "c", "z" if self.name.endswith("i") else "s"]
        if self.opcode in _LOADS or self.name.startswith("hlv"):
            return ["d", "mem"]
        if self.opcode in _STORES or self.name.startswith("hsv"):
            return ["t", "mem"]
        if self.opcode == _AMO:
            return [x for x in ("d", "t") if x in have] + ["mem"]
        if self.opcode == _JALR or self.name.startswith(("cbo", "prefetch")):
            return [x for x in "d" if x in have] + ["mem"]
        if self.opcode == _BRANCH:
            return ["s", "t", "target"]
        if self.opcode == _JAL:
            return ["d", "target"]
        if self.name == "fence":
            return ["p", "q"]
        return [x for x in "dstui" if x in have]


@cache
def rows() -> dict[str, Row]:
    """Every instruction of the core's table by its dotted mnemonic."""
    from rvvm import _core

    return {row.name: row for row in map(_row, _core.instructions())}


def _row(entry: Mapping[str, object]) -> Row:
    bits = str(entry["bits"]).replace(" ", "")
    fields: dict[str, list[int]] = {}
    match = 0
    for position, letter in zip(range(31, -1, -1), bits, strict=True):
        if letter in "01":
            match |= int(letter) << position
        elif letter != "-":
            fields.setdefault(letter, []).append(position)
    name = str(entry["name"]).rstrip("_").replace("_", ".")
    return Row(name, match, {letter: tuple(at) for letter, at in fields.items()})


@cache
def csr_numbers() -> dict[str, int]:
    """CSR name -> address, from the core's table."""
    from rvvm import _core

    return {str(csr["name"]): int(csr["address"]) for csr in _core.csrs()}


def _place(value: int, positions: tuple[int, ...], order: tuple[int, ...] | None = None) -> int:
    order = order or tuple(range(len(positions) - 1, -1, -1))
    return sum((value >> bit & 1) << at for bit, at in zip(order, positions, strict=True))


def _place_immediate(row: Row, value: int) -> int:
    positions = row.fields["i"]
    if row.opcode == _BRANCH:
        return _place(value, positions, _B_ORDER)
    if row.opcode == _JAL:
        return _place(value, positions, _J_ORDER)
    if row.name.startswith("prefetch"):
        return _place(value >> 5, positions)
    limit = 1 << len(positions)
    if not -limit // 2 <= value < limit:
        raise AsmError(f"{row.name}: immediate {value} does not fit")
    return _place(value, positions)


@dataclass
class Program:
    """Assembled bytes and where their labels are."""

    base: int
    code: bytes
    labels: dict[str, int] = field(default_factory=dict)

    def __getitem__(self, label: str) -> int:
        return self.labels[label]


@dataclass
class _Assembler:
    base: int
    symbols: dict[str, int]

    def value(self, text: str) -> int:
        try:
            return int(eval(text, {"__builtins__": {}}, dict(self.symbols)))  # test code only
        except Exception as error:
            raise AsmError(f"cannot read the value {text!r}: {error}") from None

    def register(self, text: str) -> int:
        if text not in REGISTERS:
            raise AsmError(f"no register {text!r}")
        return REGISTERS[text]

    def operand(self, row: Row, kind: str, text: str, pc: int) -> int:
        """The instruction bits that one operand sets."""
        if kind in "dstu":
            return _place(self.register(text), row.fields[kind])
        if kind == "c":
            number = csr_numbers().get(text)
            return _place(self.value(text) if number is None else number, row.fields["c"])
        if kind == "z":
            return _place(self.value(text), row.fields.get("z") or row.fields["s"])
        if kind in "pq":
            return _place(sum(_FENCE_BITS[c] for c in text), row.fields[kind])
        if kind == "i":
            return _place_immediate(row, self.value(text))
        if kind == "target":
            return _place_immediate(row, self.value(text) - pc)
        return self._memory(row, text)

    def _memory(self, row: Row, text: str) -> int:
        parts = re.fullmatch(r"(.*)\((\w+)\)", text)
        if parts is None:
            raise AsmError(f"{row.name}: expected offset(register), not {text!r}")
        bits = _place(self.register(parts[2]), row.fields["s"])
        if "i" in row.fields:
            return bits | _place_immediate(row, self.value(parts[1] or "0"))
        return bits

    def encode(self, mnemonic: str, operands: list[str], pc: int) -> int:
        name, _, order = mnemonic.rpartition(".")
        if order not in ("aq", "rl", "aqrl"):
            name, order = mnemonic, ""
        if name not in rows():
            raise AsmError(f"no instruction {name!r}")
        row = rows()[name]
        bits = row.match
        for letter, flag in (("a", "aq"), ("l", "rl")):
            if flag in order:
                bits |= _place(1, row.fields[letter])
        kinds = row.operands()
        if name == "fence" and not operands:
            operands = ["iorw", "iorw"]
        if "m" in row.fields:
            named = bool(operands) and operands[-1] in ROUNDING
            bits |= _place(ROUNDING[operands.pop() if named else "dyn"], row.fields["m"])
        if len(kinds) != len(operands):
            raise AsmError(f"{name} takes {kinds}, not {operands}")
        for kind, text in zip(kinds, operands, strict=True):
            bits |= self.operand(row, kind, text, pc)
        return bits

    def statement(self, line: str, pc: int) -> bytes:
        """One line without its label, as bytes."""
        mnemonic, _, rest = line.partition(" ")
        operands = [part.strip() for part in rest.split(",")] if rest.strip() else []
        if mnemonic in _SIZES:
            size = _SIZES[mnemonic]
            mask = (1 << 8 * size) - 1
            return b"".join((self.value(x) & mask).to_bytes(size, "little") for x in operands)
        if mnemonic == ".zero":
            return bytes(self.value(operands[0]))
        if mnemonic == ".align":
            return bytes(-pc % (1 << self.value(operands[0])))
        if mnemonic == ".org":
            return bytes(self.value(operands[0]) - pc)
        if mnemonic == "li":
            lines = load_immediate(operands[0], self.value(operands[1]))
        elif mnemonic == "la":
            lines = self._load_address(operands, pc)
        elif mnemonic in PSEUDO:
            lines = [PSEUDO[mnemonic].format(*operands)]
        else:
            return self.encode(mnemonic, operands, pc).to_bytes(4, "little")
        return b"".join(self.statement(text, pc + 4 * n) for n, text in enumerate(lines))

    def _load_address(self, operands: list[str], pc: int) -> list[str]:
        offset = self.value(operands[1]) - pc
        high = (offset + 0x800 >> 12) & 0xFFFFF
        low = (offset & 0xFFF ^ 0x800) - 0x800
        return [f"auipc {operands[0]}, {high}", f"addi {operands[0]}, {operands[0]}, {low}"]


def load_immediate(register: str, value: int) -> list[str]:
    """The usual lui/addiw/slli/addi sequence for a 64-bit constant."""
    value = (value & (1 << 64) - 1 ^ 1 << 63) - (1 << 63)
    if -0x800 <= value < 0x800:
        return [f"addi {register}, x0, {value}"]
    low = (value & 0xFFF ^ 0x800) - 0x800
    if -(1 << 31) <= value < 1 << 31:
        high = (value - low >> 12) & 0xFFFFF
        return [f"lui {register}, {high}"] + [f"addiw {register}, {register}, {low}"] * bool(low)
    upper = value - low >> 12
    lines = [*load_immediate(register, upper), f"slli {register}, {register}, 12"]
    return lines + [f"addi {register}, {register}, {low}"] * bool(low)


def _statements(source: str) -> list[tuple[str | None, str]]:
    found: list[tuple[str | None, str]] = []
    for raw in source.replace(";", "\n").splitlines():
        line = re.sub(r"\s+", " ", raw.split("#")[0]).strip()
        while match := re.match(r"(\w+): ?", line):
            found.append((match[1], ""))
            line = line[match.end() :]
        if line:
            found.append((None, line))
    return found


def assemble(source: str, base: int = 0, **symbols: int) -> Program:
    """Assemble `source` to be placed at `base`; keyword arguments are constants it may name."""
    statements = _statements(source)
    labels = {label: base for label, _ in statements if label}
    code = b""
    for _ in range(2):  # labels are known after the first round
        assembler = _Assembler(base, symbols | labels)
        code = b""
        for label, line in statements:
            if label:
                labels[label] = base + len(code)
            else:
                code += assembler.statement(line, base + len(code))
    return Program(base, code, labels)


def asm(line: str, pc: int = 0, **symbols: int) -> int:
    """One instruction as its 32-bit encoding."""
    code = assemble(line, pc, **symbols).code
    if len(code) != 4:
        raise AsmError(f"{line!r} is not one instruction")
    return int.from_bytes(code, "little")
