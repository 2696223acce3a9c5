"""The face that Spike's users and RISCOF-style suites know: signatures (``tohost`` is HTIF's)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rvvm.py.errors import UserError
from rvvm.py.machine import Machine

BEGIN, END = "begin_signature", "end_signature"
GRANULARITIES = (1, 2, 4, 8, 16)
LIMIT_STATUS = 124
"""Exit status when --max-instructions ends the machine: timeout(1) ends so, too."""


@dataclass(frozen=True)
class Signature:
    """Where the results lie, and how they are to be written."""

    path: Path
    start: int
    end: int
    granularity: int

    @classmethod
    def of(cls, machine: Machine, path: Path, granularity: int) -> Signature:
        """UserError when the program has no signature or the file cannot be written."""
        missing = [name for name in (BEGIN, END) if name not in machine.symbols]
        if missing:
            raise UserError(f"--signature: the program has no symbol {' and no '.join(missing)}")
        start, end = machine.symbols[BEGIN], machine.symbols[END]
        if end < start or not _in_ram(machine, start, end):
            raise UserError(f"--signature: {BEGIN} {start:#x} to {END} {end:#x} is no RAM")
        check_writable(path, "--signature")
        return cls(path, start, end, granularity)

    def write(self, machine: Machine) -> None:
        """Write the file."""
        text = signature_text(bytes(machine.memory[self.start : self.end]), self.granularity)
        try:
            self.path.write_text(text)
        except OSError as error:
            raise UserError(f"--signature: {self.path}: {error.strerror}") from None


def signature_text(data: bytes, granularity: int) -> str:
    """A line for each ``granularity`` bytes, most significant byte first, the last one padded.

    >>> print(signature_text(bytes.fromhex("0100000002"), 4), end="")
    00000001
    00000002
    """
    padded = data.ljust(-(-len(data) // granularity) * granularity, b"\0")
    pieces = (padded[at : at + granularity] for at in range(0, len(padded), granularity))
    return "".join(piece[::-1].hex() + "\n" for piece in pieces)


def check_granularity(granularity: int) -> None:
    """UserError for a line of bytes that nobody could compare."""
    if granularity not in GRANULARITIES:
        wanted = ", ".join(map(str, GRANULARITIES))
        raise UserError(f"--signature-granularity {granularity}: expected one of {wanted}")


@contextmanager
def commit_log(machine: Machine, path: str | None) -> Iterator[None]:
    """Log what retires until the machine is closed; UserError when the file ends before."""
    if not path:
        yield
        return
    check_writable(Path(path), "--log-commits")
    machine.system.log_commits(path)
    try:
        yield
    except OSError as error:
        if error.filename != path:
            raise
        reason = f"{error.strerror}: the log is cut short"
        raise UserError(f"--log-commits: {path}: {reason}") from None


def check_writable(path: Path, option: str) -> None:
    """UserError now rather than after the run."""
    try:
        with path.open("a"):
            pass
    except OSError as error:
        raise UserError(f"{option}: {path}: {error.strerror}") from None


def _in_ram(machine: Machine, start: int, end: int) -> bool:
    return any(region.base <= start and end <= region.end for region in machine.board.memory)
