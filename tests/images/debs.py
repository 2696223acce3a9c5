"""Debian packages and kernel modules small enough for a test, made from nothing."""

from __future__ import annotations

import hashlib
import io
import struct
import tarfile
from pathlib import Path

from rvvm.py.images import symbols
from rvvm.py.images.apt import Package


def ar(members: dict[str, bytes]) -> bytes:
    out = b"!<arch>\n"
    for name, data in members.items():
        out += f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(data):<10}`\n".encode()
        out += data + b"\n" * (len(data) % 2)
    return out


def tar(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:xz") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(f"./{name}")
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def deb(files: dict[str, bytes]) -> bytes:
    parts = {"debian-binary": b"2.0\n", "control.tar.xz": tar({}), "data.tar.xz": tar(files)}
    return ar(parts)


def package(name: str, files: dict[str, bytes], version: str = "1:1.0-1") -> tuple[Package, bytes]:
    """A package record and the package it describes."""
    data = deb(files)
    digest = hashlib.sha256(data).hexdigest()
    return Package(name, version, "riscv64", len(data), digest), data


def put(record: Package, data: bytes) -> Path:
    """Into the cache, as if it had been downloaded."""
    record.path.parent.mkdir(parents=True, exist_ok=True)
    record.path.write_bytes(data)
    return record.path


def module(info: dict[str, str], labels: int = 0) -> bytes:
    """A relocatable ELF with a .modinfo, `labels` dead local labels, and two live symbols.

    The relocations of .text refer to a label and to the function ``work``.
    """
    names = b"\0work\0.Llive\0" + b"".join(b".L%d\0" % n for n in range(labels))
    text, local, function = 1, 0x00, 0x12
    table = [symbols.SYMBOL.pack(0, 0, 0, 0, 0, 0)]
    at = len(b"\0work\0.Llive\0")
    for n in range(labels):
        table.append(symbols.SYMBOL.pack(at, local, 0, text, n, 0))
        at += len(b".L%d\0" % n)
    table.append(symbols.SYMBOL.pack(len(b"\0work\0"), local, 0, text, 4, 0))
    table.append(symbols.SYMBOL.pack(1, function, 0, text, 8, 4))
    relocations = symbols.RELOCATION.pack(0, (labels + 1) << 32 | 2, 0)
    relocations += symbols.RELOCATION.pack(8, (labels + 2) << 32 | 2, -4)
    modinfo = b"".join(f"{key}={value}".encode() + b"\0" for key, value in info.items())
    return _elf(
        {
            ".text": (1, bytes(16), 0, 0),
            ".rela.text": (4, relocations, 5, 1),
            ".modinfo": (1, modinfo, 0, 0),
            ".BTF": (1, bytes(100), 0, 0),
            ".symtab": (2, b"".join(table), 6, labels + 2),
            ".strtab": (3, names, 0, 0),
        }
    )


def _elf(sections: dict[str, tuple[int, bytes, int, int]]) -> bytes:
    """Name -> type, data, link, info; a null section comes first, the names last."""
    strings = b"\0" + b"".join(name.encode() + b"\0" for name in sections) + b".shstrtab\0"
    sections = sections | {".shstrtab": (3, strings, 0, 0)}
    body, headers, at = b"", bytes(symbols.SECTION.size), 1
    for name, (kind, data, link, info) in sections.items():
        entry = {2: symbols.SYMBOL.size, 4: symbols.RELOCATION.size}.get(kind, 0)
        offset = symbols.HEADER.size + len(body)
        headers += struct.pack(
            "<IIQQQQIIQQ", at, kind, 0, 0, offset, len(data), link, info, 8, entry
        )
        body += data + bytes(-len(data) % 8)
        at += len(name) + 1
    count = len(sections) + 1
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    where = symbols.HEADER.size + len(body)
    header = symbols.HEADER.pack(
        ident, 1, 243, 1, 0, 0, where, 0, 64, 0, 0, symbols.SECTION.size, count, count - 1
    )
    return header + body + headers
