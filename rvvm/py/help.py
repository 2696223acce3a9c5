"""The command line's help: options in groups, examples after them."""

from __future__ import annotations

import click

GROUPS = {
    "What to start": ("kernel", "bios", "initrd", "append", "load"),
    "The machine": ("dtb", "memory", "harts", "clock"),
    "Disks, networks and other devices": ("drive", "commit", "netdev", "share", "device"),
    "The console and the process": ("serial", "monitor", "daemonize", "pidfile"),
    "The engine": ("accel", "threads", "limit_cpu", "perf_map"),
    "Conformance suites": (
        "signature",
        "signature_granularity",
        "log_commits",
        "max_instructions",
    ),
}
"""Heading -> parameters."""

EXAMPLES = (
    ("rvvm debian", "Debian's kernel and a shell"),
    ("rvvm hypervisor", "a program that comes with rvvm"),
    ("rvvm hi.elf --monitor", "an ELF, stopped at its first instruction"),
    ("rvvm --load saved.rvvm", "a machine that the monitor has saved"),
    ("rvvm debian --memory 2G --harts 4 --share .:host", ""),
    ("rvvm --drive disk.img --commit --netdev user,hostfwd=tcp::2222-:22", ""),
    ("rvvm --kernel Image --initrd rootfs.cpio.gz --append console=ttyS0", ""),
)

COMMANDS = (
    ("rvvm images", "kernels, firmware and disks by name"),
    ("rvvm completion bash", "a script that completes with Tab (zsh, fish)"),
)
_COLUMN = 24


class Grouped(click.Command):
    """A command whose help has groups."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        records = {
            str(parameter.name): record
            for parameter in self.get_params(ctx)
            if isinstance(parameter, click.Option)
            and (record := parameter.get_help_record(ctx)) is not None
        }
        for heading, names in GROUPS.items():
            with formatter.section(heading):
                formatter.write_dl([records.pop(name) for name in names])
        with formatter.section("Help"):
            formatter.write_dl(list(records.values()))

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for heading, lines in (("Commands", COMMANDS), ("Examples", EXAMPLES)):
            with formatter.section(heading):
                indent = " " * formatter.current_indent
                for line, meaning in lines:
                    formatter.write(f"{indent}{line:{_COLUMN}}{meaning}".rstrip() + "\n")
        super().format_epilog(ctx, formatter)
