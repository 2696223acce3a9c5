"""The C++ core as Python sees it: instructions, CSRs, translation, RAM and engines; no boards.

Addresses, register values and counts are unsigned 64-bit integers.
"""

from collections.abc import Callable, Mapping, Sequence
from mmap import mmap
from typing import Any, TypedDict

class Exit:
    """Why a run ended: a value, never an exception."""

    @property
    def reason(self) -> str:
        """``budget``, ``wfi``, ``halt``, ``breakpoint``, ``watchpoint``, ``trap`` or ``pause``."""
    @property
    def hart(self) -> int:
        """Index of the hart that stopped."""
    @property
    def detail(self) -> int:
        """Exit status of a halt, pc of a breakpoint, address of a watchpoint, cause of a trap."""

class Step:
    """One page table entry that a translation read."""

    @property
    def stage(self) -> str:
        """``S``, ``VS`` or ``G``."""
    @property
    def level(self) -> int: ...
    @property
    def pte_address(self) -> int:
        """Where the stage sees the entry: a guest physical address for ``VS``."""
    @property
    def pte_physical(self) -> int: ...
    @property
    def pte(self) -> int: ...
    @property
    def flags(self) -> str:
        """``rwxuagd`` with ``-`` for what is clear."""
    @property
    def note(self) -> str: ...

class Translation:
    """The whole walk for one address."""

    @property
    def ok(self) -> bool: ...
    @property
    def physical(self) -> int | None: ...
    @property
    def cause(self) -> int | None: ...
    @property
    def tval2(self) -> int: ...
    @property
    def reason(self) -> str: ...
    @property
    def steps(self) -> list[Step]: ...

class Hart:
    """One hart; read and written while the system is paused."""

    pc: int
    privilege: int
    """0 U, 1 S, 3 M."""
    virtual: bool
    instret: int
    """Retired instructions, whatever the guest does with minstret."""

    @property
    def index(self) -> int: ...
    @property
    def id(self) -> int:
        """mhartid."""
    @property
    def waiting(self) -> bool: ...
    @property
    def extensions(self) -> frozenset[str]: ...
    @property
    def last_trap(self) -> dict[str, Any] | None:
        """cause, interrupt, epc, tval, tval2, tinst, to (``M``, ``HS``, ``VS``), gva."""
    @property
    def deadline(self) -> int:
        """The value of ``time`` at which an enabled timer fires next; 2**64 - 1 for never."""
    @property
    def traps(self) -> int: ...
    def x(self, number: int) -> int: ...
    def set_x(self, number: int, value: int) -> None: ...
    def f(self, number: int) -> int:
        """Raw bits, NaN-boxed as the guest left them."""
    def set_f(self, number: int, value: int) -> None: ...
    def csr(self, address: int) -> int:
        """As a debugger: no permission check, never the VS twin; KeyError when absent."""
    def change_csr(self, address: int, mask: int, value: int) -> None:
        """Changes the bits of ``mask``, as csrrs and csrrc do."""

    def set_csr(self, address: int, value: int) -> None:
        """The WARL rules decide what stays."""
    def plain_csr(self, address: int) -> int | None:
        """In the present mode, as translated code does it without the rule; None when it cannot."""
    def set_plain_csr(self, address: int, value: int) -> bool: ...
    def quick_csr(self, bits: int, operand: int) -> int | None:
        """As translated code executes a CSR instruction: the old value, or None: not done."""
    def set_interrupt(self, number: int, level: bool) -> None: ...
    def set_guest_interrupt(self, guest: int, level: bool) -> None: ...
    @property
    def timer_to_come(self) -> bool:
        """Whether a timer that is not due yet will interrupt what the hart does now."""
    def set_timer(self, deadline: int) -> None:
        """mtimecmp: the machine timer interrupt is pending while time >= deadline."""
    def translate(
        self,
        address: int,
        access: str = "load",
        privilege: int | None = None,
        virtual: bool | None = None,
    ) -> Translation:
        """Without side effects; ``access`` is ``load``, ``store`` or ``fetch``."""
    def read(self, address: int, size: int) -> bytes:
        """Virtual memory as the hart sees it; ValueError when it faults."""
    def write(self, address: int, data: bytes) -> None: ...
    def step(self, count: int = 1) -> Exit:
        """Execute instructions of this hart alone, wfi or not."""
    def set_registers(self, values: bytes) -> None:
        """x0 to x31, then f0 to f31: 8 bytes each, little-endian."""
    def registers(self) -> dict[str, Any]:
        """Everything, comparable with ``==``."""
    def state(self) -> dict[str, Any]:
        """The whole hart as plain data; CSRs as they are stored."""
    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take over a saved state, after time and memory; KeyError, TypeError, ValueError or
        RuntimeError for what is none, and then nothing has changed."""

class MemoryImage:
    """All RAM at some moment; any number of systems may become it."""

    @property
    def own_pages(self) -> int:
        """Pages that it has a copy of."""
    @property
    def base_pages(self) -> int:
        """Pages that it shares with all who began there."""

class DeferredSignals:
    """For ``with``, in the main thread: Python's functions that handle signals are called at the
    end, or where a run that is in it allows, in no other code. Elsewhere it does nothing."""

    def __init__(self) -> None: ...
    def __enter__(self) -> None: ...
    def __exit__(self, *exception: object) -> None: ...

class System:
    """Harts, RAM and device windows on one bus.

    One thread runs it at a time. RuntimeError for what would disturb that: another ``run`` or
    ``step``, ``reset``, images of RAM, writes of a hart's state, more RAM, devices or harts; and
    for everything but ``pause`` after ``close``.
    """

    time: int
    """Ticks of the timebase; within a device's callback those of the hart whose access it is."""
    alarm: int
    """Where time counts instructions, a run ends when it reaches this; then it is ~0 again."""

    def __init__(
        self,
        timebase: int = 10_000_000,
        clock: str = "host",
        accel: str = "interp",
        chain: bool = True,
        unit_limit: int = 64,
        hot: int = 12,
        code_size: int = 67108864,
        threads: bool = False,
        disturb: int | None = None,
        check_translations: bool = False,
        host_lacks: Sequence[str] = (),
        perf_map: bool = False,
        background: bool = False,
        swap_worth: int = 8,
    ) -> None:
        """``accel``: ``interp``, ``jit``, or ``auto`` for the fastest that this host has.

        The next four are for the translating engine: whether jumps lead straight to translated
        code, how many instructions a unit may have (1 to 64), the time a block comes up at which it
        is translated, bytes of memory for code. ``swap_worth`` is how many more uses a guest
        register must have than another, for a unit to give it that one's host register.
        ``host_lacks`` names what is not to be used of this host: ``bmi1``, ``bmi2``, ``lzcnt``,
        ``popcnt``, ``avx``, ``fma``, ``avx512``, or ``x86-64`` itself. ValueError for what is not
        known, or not to be had on this host.

        With ``threads`` several harts run on a host thread each, and take turns only while somebody
        observes, where time counts instructions, and for a small budget.

        Two look for mistakes in the core. With ``disturb``, a seed, code, translations or
        ways to code are lost every few instructions of harts that take turns. With
        ``check_translations`` each access that a cached translation serves makes its walk all the
        same; where they differ, ``run`` raises RuntimeError.

        ``perf_map`` writes what Linux perf wants to know about translated code. With ``background``
        a thread translates for harts that take turns, while they go on interpreting.
        """
    @property
    def accel(self) -> str:
        """The engine it has: ``interp`` or ``jit``."""
    @property
    def room_for_code(self) -> bool:
        """False where ``auto`` is the interpreter for want of memory for translated code."""
    @property
    def harts(self) -> list[Hart]: ...
    def add_ram(self, base: int, size: int) -> None:
        """ValueError on overlap or when not made of whole 4 KiB pages."""
    def add_device(
        self,
        name: str,
        base: int,
        size: int,
        read: Callable[[int, int], int],
        write: Callable[[int, int, int], None],
    ) -> None:
        """``read(offset, width)``, ``write(offset, width, value)``; widths 1, 2, 4, 8."""
    def add_hart(self, id: int, extensions: Sequence[str], reset_pc: int = 0x1000) -> Hart:
        """ValueError for unknown or impossible extensions."""
    def read(self, address: int, size: int) -> bytes:
        """Physical RAM; IndexError outside."""
    def write(self, address: int, data: bytes | memoryview | mmap) -> None: ...
    def view(self, address: int, size: int, writable: bool = False) -> memoryview:
        """Zero-copy. The core does not see writes through a writable view, which keeps the RAM."""
    def dma(self, address: int, size: int) -> memoryview:
        """Writable, for devices: they say what they wrote with ``written``."""
    def written(self, address: int, size: int) -> None:
        """These bytes of RAM have changed: code decoded from them and reservations are void."""
    def progress(self) -> dict[str, int]:
        """The time, whose turn it is and until when."""
    def resume(self, progress: Mapping[str, int]) -> None:
        """Time goes on from there; before harts take over their state."""
    def image(self, to_share: bool = False) -> MemoryImage:
        """RAM as it is; what has not changed since an image was made before is not copied. More
        than a few changed pages become common ones when it is ``to_share``."""
    def become(self, image: MemoryImage) -> None:
        """RAM as it was, here or in a system with the same RAM; ValueError where it is other."""
    def filled(self) -> list[tuple[int, int]]:
        """Where RAM is not zero: addresses and sizes of runs of pages."""
    def discard(self, address: int, size: int) -> None:
        """These pages of RAM are zeroes, and take no memory of the host's until they are used;
        IndexError unless they are whole pages of one RAM."""
    def watch_store(
        self, address: int, size: int, callback: Callable[[int, int, int], None]
    ) -> None:
        """``callback(address, width, value)`` after each store into the range."""
    def defer(self, callback: Callable[[], None]) -> None:
        """From a device: call back once, when the turn of the hart that asks is over, or it waits,
        or the run ends; where time counts instructions, at the next multiple of 50,000."""
    def watch(self, file: int, callback: Callable[[], None]) -> None:
        """Call back once, from within ``run``, when a file of the host's can be read or has
        ended."""
    def run(self, instructions: int | None = None) -> Exit:
        """All harts by turns, without the GIL; sleeps while all wait.

        Signals are handled between slices of time, never within a device. What a device has raised
        is raised when the harts have stopped.
        RuntimeError in a child of ``os.fork``: a machine runs in the process that made it.
        """
    def pause(self) -> None:
        """From any thread: ``run`` returns at an instruction boundary."""
    def halt(self, code: int) -> None:
        """From a device: ``run`` returns with ``halt`` and this detail."""
    def reset(self) -> None:
        """Harts to their reset state; RAM stays."""
    def close(self) -> None:
        """Its threads end, and its memory is the host's again, but RAM that somebody has a view
        of. Once more does nothing."""
    def add_breakpoint(self, pc: int) -> None: ...
    def remove_breakpoint(self, pc: int) -> None: ...
    def add_watchpoint(self, address: int, size: int, kind: str) -> None:
        """``kind`` is ``r``, ``w`` or ``rw``."""
    def remove_watchpoint(self, address: int, size: int, kind: str) -> None: ...
    def stop_on_traps(self, causes: set[int]) -> None:
        """Interrupt causes with bit 63 set."""
    def log_commits(self, path: str | None) -> None:
        """Spike's ``--log-commits`` format; None ends the log."""
    def stats(self) -> dict[str, int]:
        """Counters of slow paths, summed over harts."""
    def samples(self) -> dict[int, int]:
        """Where full turns of harts ended, by pc."""

def count_samples(pcs: Sequence[int]) -> dict[int, int]:
    """What a hart would keep of samples at these pcs."""

def ticks(nanoseconds: int, frequency: int) -> int:
    """What the host's clock is as ``time``, rounded down."""

class _CsrField(TypedDict):
    """Bits ``high`` to ``low`` of a CSR."""

    name: str
    high: int
    low: int
    kind: str

class _Csr(TypedDict):
    """A row of the CSR table."""

    name: str
    address: int
    extension: str
    fields: list[_CsrField]

def lockstep(
    one: System, other: System, budgets: Sequence[int], memory: Sequence[tuple[int, int]]
) -> int | None:
    """Runs both for one budget of instructions after the other, and stops where they differ.

    The answer is the number of that budget, or None. Compared are the harts whole, the time, why
    the runs ended, and RAM: address and size of each range.
    """

def instructions() -> list[dict[str, Any]]:
    """name, mask, match, bits, format, need, flags of every 32-bit row."""

def compressed() -> list[dict[str, Any]]:
    """The 16-bit rows."""

def csrs() -> list[_Csr]:
    """The CSR table."""

def extensions() -> list[dict[str, Any]]:
    """name, implies, meaning."""

def decode(bits: int, extensions: Sequence[str] | None = None) -> dict[str, Any]:
    """An instruction's row and operands."""

def disassemble(bits: int, pc: int = 0) -> str:
    """The core's own disassembler."""
