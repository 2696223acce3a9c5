"""The command line: ``rvvm [options] [PROGRAM]`` and ``rvvm images ...``."""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

import rvvm
from rvvm.py import daemon
from rvvm.py import options as known
from rvvm.py.advice import Advisor
from rvvm.py.cards import DEVICES
from rvvm.py.conformance import (
    LIMIT_STATUS,
    Signature,
    check_granularity,
    commit_log,
)
from rvvm.py.errors import EXIT_STATUS, UserError, printable
from rvvm.py.help import Grouped
from rvvm.py.images import catalogue
from rvvm.py.machine import Machine
from rvvm.py.monitor import Monitor, Next
from rvvm.py.resources import PACKAGE, resource
from rvvm.py.terminal import (
    HELP,
    IMPATIENT,
    READER_GONE,
    Congested,
    Terminal,
    Terminated,
    terminal_size,
)
from rvvm.py.until import Condition, instructions

INTERRUPTED = 130  # the shell's 128 + SIGINT
DEFAULT_KERNEL = "RVVM_DEFAULT_KERNEL"
"""The environment variable that names the kernel to start where nothing else is named; ./run sets
it."""

_EPILOG = """\b
With nothing named, runs the packaged greeting; ./run of a checkout boots Debian.
Keys: Ctrl-A x quits, Ctrl-A c opens the monitor, Ctrl-A h helps.
"""


def _complete(*values: str, files: str = "", image: str = "", packaged: bool = False) -> Any:
    """What completes a parameter: these values, images for an option, packaged programs, files."""

    def complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[Any]:
        from rvvm.py.shell_completion import candidates

        known = [it.name for it in catalogue.IMAGES if image and it.option in image.split()]
        programs = packaged_programs() if packaged else ()
        return candidates(incomplete, (*values, *known, *programs), files)

    return complete


def _file(
    *names: str, help: str, image: str = "", values: Sequence[str] = ()
) -> Callable[[Any], Any]:
    complete = _complete(*values, files="file", image=image)
    return click.option(*names, metavar="FILE", help=help, shell_complete=complete)


class _Rvvm(Grouped):
    """The command line: a machine, or a command of its own when that is the first word."""

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        if command := _subcommand(args[0]) if args else None:
            return command.make_context(f"{info_name} {args[0]}", args[1:], parent, **extra)
        return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        return super().invoke(ctx) if ctx.command is self else ctx.command.invoke(ctx)


def _subcommand(name: str) -> click.Command | None:
    if name == "completion":
        return completion_command
    if name == "images":
        from rvvm.py.image_commands import group

        return group
    return None


@click.command()
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
def completion_command(shell: str) -> None:
    """Print the script that completes rvvm's words with Tab: eval "$(rvvm completion bash)"."""
    from rvvm.py import shell_completion

    click.echo(shell_completion.script(shell, machine_command))


@click.command(cls=_Rvvm, epilog=_EPILOG, context_settings={"help_option_names": ["--help", "-h"]})
@click.argument(
    "program",
    required=False,
    shell_complete=_complete(
        "images", "completion", files="file", image="kernel bios", packaged=True
    ),
)
@_file("--dtb", help="The board: devicetree source or blob.  [default: virt.dts]")
@_file(
    "--kernel",
    image="kernel",
    help="ELF, Linux Image, raw image, or a named image such as debian.",
)
@_file(
    "--bios",
    image="bios",
    values=(known.NONE,),
    help="Firmware; `none` starts the kernel in M-mode.  [default: opensbi]",
)
@_file(
    "--initrd",
    image="initrd",
    values=(known.NONE,),
    help="Initial RAM disk; `none` for no default one.",
)
@click.option("--append", metavar="TEXT", help="The kernel's command line.")
@click.option("--memory", "-m", metavar="SIZE", help="RAM, such as 512M or 2G.")
@click.option(
    "--drive",
    multiple=True,
    metavar="file=FILE,...",
    shell_complete=_complete(files="file"),
    help="A disk image; what the guest writes is gone at the end. Also format=, readonly=, limit=.",
)
@click.option("--commit", is_flag=True, help="What the guest writes goes into the disk images.")
@click.option(
    "--netdev",
    multiple=True,
    metavar="KIND,...",
    shell_complete=_complete("user", "socket,path=", "switch,path=", "tap,ifname=", files="file"),
    help="A network: user,hostfwd=tcp::2222-:22 or socket,path=FILE. Also rate=.",
)
@click.option(
    "--share",
    multiple=True,
    metavar="FOLDER:TAG",
    shell_complete=_complete(files="dir"),
    help="A folder for the guest, who mounts it by its tag. Also readonly=.",
)
@click.option(
    "--device",
    multiple=True,
    metavar="NAME,...",
    shell_complete=_complete(*DEVICES),
    help="A device, such as virtio-rng.",
)
@click.option(
    "--serial",
    metavar="WHERE",
    shell_complete=_complete("null", "pty", "stdio", "file:", "unix:", "tcp:", files="file"),
    help="The console: null, file:PATH, unix:PATH,server, tcp:HOST:PORT, pty.  [default: stdio]",
)
@click.option("--daemonize", is_flag=True, help="Run in the background, once the machine is made.")
@_file("--pidfile", help="Write the process's number there.")
@click.option("--limit-cpu", metavar="SHARE", help="Use 50% of a host processor, say.")
@_file("--load", help="A machine that was saved, instead of one that starts.")
@click.option("--harts", "--smp", type=int, metavar="N", help="How many harts.")
@click.option(
    "--clock",
    type=click.Choice(known.CLOCKS),
    default="host",
    show_default=True,
    help="What time follows; `instructions` makes runs repeatable.",
)
@click.option(
    "--accel",
    default="auto",
    show_default=True,
    metavar="|".join(known.ACCELERATORS),
    shell_complete=_complete(*known.ACCELERATORS),
    help="The engine.",
)
@click.option(
    "--threads/--no-threads",
    default=None,
    help="A host thread for each hart.  [default: unless time follows instructions]",
)
@click.option(
    "--perf-map",
    is_flag=True,
    help="Tell Linux perf about translated code, in /tmp/perf-PID.map.",
)
@_file("--signature", help="Write begin_signature..end_signature there at the end.")
@click.option(
    "--signature-granularity",
    type=int,
    default=4,
    show_default=True,
    metavar="N",
    help="Bytes a line.",
)
@_file("--log-commits", help="Write a line for each retired instruction, as Spike does.")
@click.option(
    "--max-instructions",
    type=click.IntRange(min=1),
    metavar="N",
    help=f"End with status {LIMIT_STATUS} after N instructions.",
)
@click.option("--monitor", is_flag=True, help="Start in the monitor, before the first instruction.")
@click.version_option(rvvm.__version__, prog_name="rvvm")
def machine_command(
    program: str | None,
    signature: str | None,
    signature_granularity: int,
    log_commits: str | None,
    max_instructions: int | None,
    monitor: bool,
    load: str | None,
    daemonize: bool,
    pidfile: str | None,
    **options: Any,
) -> int:
    """Run a RISC-V machine.

    PROGRAM is a bare-metal ELF, which starts in M-mode (as with `--bios none --kernel PROGRAM`), or
    a name: of an image (debian, u-boot, opensbi) or of a program that comes with rvvm (hello,
    hypervisor).
    """
    check_granularity(signature_granularity)
    if program is not None and load is not None:
        raise UserError(f"{program}: --load {load} has a program already")
    if program is not None:
        options |= _named(program, options)
    elif load is None and options["kernel"] is None and options["bios"] is None:
        options["kernel"] = os.environ.get(DEFAULT_KERNEL) or None
    if size := terminal_size():
        options["terminal"] = size
    ready = _background(options, monitor) if daemonize else None
    machine = Machine(**options) if load is None else Machine.load(load, **_said(options))
    for note in filter(None, (machine.slow_engine, *machine.detached)):
        print("rvvm:", printable(note), file=sys.stderr)
    result = Signature.of(machine, Path(signature), signature_granularity) if signature else None
    number_in = Path(pidfile) if pidfile is not None else None
    with commit_log(machine, log_commits), daemon.pidfile(number_in):
        if ready is not None:
            ready()
        status = Session(machine, max_instructions, result).run(monitor)
    if machine.line is not None and machine.line.problem:  # which was told when it happened
        return status or EXIT_STATUS
    return status


def _said(options: dict[str, Any]) -> dict[str, Any]:
    """The options that are not there by default."""
    source = click.get_current_context().get_parameter_source
    return {
        name: value
        for name, value in options.items()
        if source(name) is not click.core.ParameterSource.DEFAULT
    }


def _named(program: str, options: dict[str, Any]) -> dict[str, Any]:
    """What PROGRAM stands for. A file comes before a name."""
    option, value = _meant(program)
    if (there := options[option]) is not None:
        raise UserError(f"{program}: there is a --{option} already ({there})")
    if isinstance(value, Path) and options["bios"] is None:
        return {option: value, "bios": known.NONE}
    return {option: value}


def _meant(program: str) -> tuple[str, Path | str]:
    """An option and its value: a path for what starts in M-mode, else the name of an image."""
    path = Path(program)
    if "/" not in program and not path.is_file():
        if program in packaged_programs():
            return "kernel", resource(f"firmware/{program}.elf")
        if image := catalogue.find(program):
            return _image(program, image)
        if not path.exists():
            names = [it.name for it in catalogue.IMAGES if it.option in ("kernel", "bios")]
            names += packaged_programs()
            raise UserError(
                f"{program}: no such file and no program of that name ({', '.join(names)})"
            )
    path = known.find(program if "/" in program else f"./{program}", "program")
    if not known.is_elf(path):
        raise UserError(f"{program}: not an ELF; --kernel takes raw images, --drive disks")
    return "kernel", path.absolute() if catalogue.find(str(path)) else path


def _image(name: str, image: catalogue.Image) -> tuple[str, str]:
    if image.option in ("kernel", "bios"):
        return image.option, name
    hint = f"; --{image.option} takes it" if image.option else ""
    raise UserError(f"{name}: {image.what}, not a program{hint}")


def packaged_programs() -> tuple[str, ...]:
    """The bare-metal programs that come with rvvm."""
    return tuple(sorted(path.stem for path in (PACKAGE / "firmware").glob("*.elf")))


def _background(options: dict[str, Any], monitor: bool) -> Callable[[], None]:
    """Without a terminal; what is to be called when the machine is made."""
    if monitor:
        raise UserError("--daemonize: there is no terminal for --monitor")
    options["serial"] = options["serial"] or "null"
    if options["serial"] == known.STDIO:
        raise UserError("--daemonize: there is no terminal for --serial stdio")
    return daemon.daemonize()


class Session:
    """A machine at a terminal: runs it, and does what is typed after Ctrl-A."""

    def __init__(self, machine: Machine, most: int | None, signature: Signature | None) -> None:
        self._machine = machine
        self._end = None if most is None else machine.instret + most
        self._signature = signature
        self._command = ""
        joined = machine.options.on_terminal
        self._advisor = Advisor(machine, self._advise, machine.pause)
        self._terminal = Terminal(machine.console, self._on_command, joined)
        self._congested = Congested(self._terminal.output)

    def run(self, monitor: bool = False) -> int:
        """Until the guest, the user or a signal ends it; the exit status."""
        self._terminal.held = monitor
        advice = self._advisor.watching(self._terminal.interactive)
        with self._terminal, self._machine, advice:
            status = self._run(monitor)
            if self._signature is not None:
                self._signature.write(self._machine)
            return status

    def _run(self, monitor: bool) -> int:
        if monitor and self._monitor() is Next.QUIT:
            return 0
        while True:
            stop = self._machine.run(until=self._limit())
            if stop.reason == "halt":
                return _status(stop.detail)
            if stop.condition is self._congested:
                self._terminal.output.wait(self._may_go_on)
            elif stop.reason == "until":
                return LIMIT_STATUS
            self._advisor.judge()
            if self._handle(self._command) is Next.QUIT:
                return 0

    def _may_go_on(self) -> bool:
        return bool(self._command) or not self._terminal.output.full

    def _limit(self) -> Condition:
        """What is left of the instructions, also after a pause; and as long as stdout takes what
        the guest prints."""
        if self._end is None:
            return self._congested
        return instructions(max(0, self._end - self._machine.instret)) | self._congested

    def _advise(self, text: str) -> None:
        """A line of its own, wherever the guest's cursor is."""
        begins = self._machine.console.tail(1) in (b"", b"\n")
        print("" if begins else "\n", f"rvvm: {text}", sep="", file=sys.stderr, flush=True)

    def _on_command(self, letter: str) -> None:
        """On the reading thread: the machine pauses, and the main thread handles it."""
        if letter == "h":
            self._terminal.print(HELP)
        elif letter in ("x", "c", READER_GONE):
            if letter == "c":
                self._terminal.pause_reading()
            self._command = letter
            with contextlib.suppress(RuntimeError):  # it may have been closed just now
                self._machine.pause()

    def _handle(self, command: str) -> Next:
        self._command = ""
        if command == "c":
            return self._monitor()
        if command == READER_GONE:
            self._terminal.check_output()
        if command == "x":
            self._terminal.patience = IMPATIENT
        return Next.QUIT if command in ("x", READER_GONE) else Next.CONTINUE

    def _monitor(self) -> Next:
        self._terminal.suspend()
        print("\nThe machine is paused: help lists the commands, continue goes on.")
        try:
            return Monitor(self._machine).loop()
        finally:
            self._terminal.resume()


def _status(code: int) -> int:
    """A status the shell can hold, and that never turns a failure into success.

    >>> _status(0), _status(3), _status(256)
    (0, 3, 255)
    """
    return code if 0 <= code < 256 else 255


def _run(arguments: Sequence[str]) -> int:
    if "_RVVM_COMPLETE" in os.environ:
        importlib.import_module("rvvm.py.shell_completion")  # bash is completed our way
    status = machine_command.main(args=list(arguments), prog_name="rvvm", standalone_mode=False)
    return status if isinstance(status, int) else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; every mistake of the user's is one line on stderr and status 2, and so is
    what the host refuses."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        status = _run(arguments)
        if sys.stdout is not None:
            sys.stdout.flush()
        return status
    except UserError as error:
        return _complain(str(error))
    except click.NoSuchOption as error:
        return _complain(_one_dash(arguments) or error.format_message())
    except click.ClickException as error:
        return _complain(error.format_message())
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except Terminated:
        _leave_stdout()
        raise
    except MemoryError:
        return _complain("this host has not enough memory for the machine")
    except OSError as error:
        _leave_stdout()
        if isinstance(error, BrokenPipeError):  # `| head` has enough
            return 128 + signal.SIGPIPE
        return _complain(_refusal(error))


def _leave_stdout() -> None:
    """What Python still has for stdout is not written: it might wait for ever, or fail again."""
    with contextlib.suppress(OSError, AttributeError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)


def _refusal(error: OSError) -> str:
    """What the host refuses. An error without a file, and in the system's words alone, is a
    write's."""
    words = error.strerror or str(error)
    plain = error.errno is not None and words == os.strerror(error.errno)
    name = error.filename or ("standard output" if plain else "")
    return f"{name}: {words}" if name else words


def _one_dash(arguments: Sequence[str]) -> str | None:
    """The habit of QEMU's users, whose options have one dash.

    >>> _one_dash(["-kernel", "debian"])
    '-kernel: options have two dashes here: --kernel'
    """
    names = {name for option in machine_command.params for name in option.opts}
    for word in arguments:
        if not word.startswith("--") and f"-{word}" in names:
            return f"{word}: options have two dashes here: -{word}"
    return None


def _complain(message: str) -> int:
    print("rvvm:", " ".join(message.split()), file=sys.stderr)
    return EXIT_STATUS


if __name__ == "__main__":
    raise SystemExit(main())
