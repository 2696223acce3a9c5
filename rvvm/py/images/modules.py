"""Kernel modules for an initramfs: what each needs, and the index files modprobe reads.

modules.dep(5): depmod derives it from symbols; modpost has already written the same facts in
each module's ``.modinfo`` section (``depends=``, ``alias=``, ``softdep=``), so that suffices.
"""

from __future__ import annotations

import io
import lzma
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cached_property
from pathlib import PurePosixPath

from elftools.elf.elffile import ELFFile

from rvvm.py.errors import UserError


def canonical(name: str) -> str:
    """A module's name as the kernel spells it.

    >>> canonical("kernel/drivers/char/hw_random/virtio-rng.ko.xz")
    'virtio_rng'
    """
    return PurePosixPath(name).name.partition(".")[0].replace("-", "_")


def plain(path: str, data: bytes) -> bytes:
    """The module itself; Debian ships ``.ko.xz``."""
    return lzma.decompress(data) if path.endswith(".xz") else data


@dataclass(frozen=True)
class Module:
    """One module: its path below ``/lib/modules/<release>`` and its bytes, uncompressed."""

    path: str
    data: bytes

    @property
    def name(self) -> str:
        """The name lsmod shows."""
        return canonical(self.path)

    @cached_property
    def info(self) -> dict[str, list[str]]:
        """The ``.modinfo`` strings: key -> values."""
        section = ELFFile(io.BytesIO(self.data)).get_section_by_name(".modinfo")
        found: dict[str, list[str]] = {}
        for word in section.data().split(b"\0") if section else ():
            key, _, value = word.decode("utf-8", "replace").partition("=")
            if key:
                found.setdefault(key, []).append(value)
        return found

    @property
    def depends(self) -> list[str]:
        """Modules whose symbols this one uses."""
        return [canonical(n) for v in self.info.get("depends", []) for n in v.split(",") if n]

    @property
    def wishes(self) -> list[str]:
        """Names or aliases a ``softdep=pre:`` asks to be loaded first."""
        found: list[str] = []
        for value in self.info.get("softdep", []):
            _, _, names = value.partition("pre:")
            found += names.partition("post:")[0].split()
        return found

    def answers(self, name: str) -> bool:
        """Whether this module is `name` or has it as an alias."""
        return canonical(name) == self.name or any(
            fnmatch(name, alias) for alias in self.info.get("alias", [])
        )


class Closure:
    """The modules of `wanted` with everything they need, in an order in which they load."""

    def __init__(self, wanted: Iterable[str], load: Callable[[str], Module | None]) -> None:
        self._load = load
        self.modules: dict[str, Module] = {}
        for name in wanted:
            if self._visit(name) is None:
                raise UserError(f"the kernel package has no module {name}")

    def _visit(self, name: str) -> Module | None:
        if (known := self.modules.get(canonical(name))) is not None:
            return known
        if (module := self._load(canonical(name))) is None:
            return None  # built into the kernel
        for needed in module.depends:
            self._visit(needed)
        self.modules[module.name] = module
        return module

    def needs(self, module: Module) -> list[Module]:
        """Everything `module` needs, nearest last, as modules.dep wants it reversed.

        A wish counts as a need when something here answers it: busybox's modprobe does not
        read modules.softdep, and ext4 fails without a crc32c.
        """
        found: dict[str, Module] = {}

        def visit(one: Module) -> None:
            direct = [self.modules[n] for n in one.depends if n in self.modules]
            wished = [m for w in one.wishes for m in self.modules.values() if m.answers(w)]
            for other in (*wished, *direct):
                if other.name not in found and other is not module:
                    visit(other)
                    found[other.name] = other

        visit(module)
        return list(found.values())


def index_files(closure: Closure) -> Iterator[tuple[str, str]]:
    """Name and text of modules.dep and modules.alias for these modules."""
    modules = closure.modules.values()
    yield "modules.dep", "".join(_dep_line(m, closure.needs(m)) for m in modules)
    aliases = ((alias, m.name) for m in modules for alias in m.info.get("alias", []))
    yield "modules.alias", "".join(f"alias {alias} {name}\n" for alias, name in aliases)
    yield "modules.order", "".join(f"{m.path}\n" for m in modules)


def _dep_line(module: Module, needs: list[Module]) -> str:
    # modules.dep lists what to load right to left.
    return f"{module.path}: {' '.join(m.path for m in reversed(needs))}".rstrip() + "\n"


def loader(archive: Mapping[str, bytes]) -> Callable[[str], Module | None]:
    """A lookup by name in a package's modules, given as path below the release -> bytes."""
    paths = {canonical(path): path for path in archive}

    def load(name: str) -> Module | None:
        if (path := paths.get(name)) is None:
            return None
        return Module(path.removesuffix(".xz"), plain(path, archive[path]))

    return load
