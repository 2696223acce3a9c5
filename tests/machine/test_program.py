"""Reading programs: what an ELF, a Linux Image and a raw binary turn into."""

from __future__ import annotations

import gzip
import os
import struct
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from machine import elves
from rvvm.py.errors import UserError
from rvvm.py.program import read_program


def linux_image(body: bytes, text_offset: int = 0x20_0000, image_size: int = 0x1000) -> bytes:
    magics = b"RISCV\0\0\0" + b"RSC\x05"
    head = struct.pack("<II QQQ II Q", 0x13, 0x13, text_offset, image_size, 0, 2, 0, 0)
    return head + magics + bytes(4) + body


def test_elf_is_placed_at_its_physical_address(tmp_path: Path) -> None:
    path = tmp_path / "kernel"
    virtual = 0xFFFF_FFFF_8000_0000
    path.write_bytes(
        elves.elf(b"code", address=virtual, physical=0x8020_0000, entry=virtual + 2, bss=12)
    )
    program = read_program(path, "--kernel")
    (segment,) = program.segments
    assert (segment.address, segment.data, segment.size) == (0x8020_0000, b"code", 16)
    assert program.entry == 0x8020_0002


def test_elf_symbols_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "kernel"
    path.write_bytes(elves.elf(b"code", symbols={"main": 5, "$x": 6, ".L1": 7}))
    assert read_program(path, "--kernel").symbols == {"main": 5}


def test_linux_image_says_where_and_how_big(tmp_path: Path) -> None:
    path = tmp_path / "Image"
    path.write_bytes(linux_image(b"kernel"))
    program = read_program(path, "--kernel").at(0x8000_0000)
    assert (program.kind, program.entry, program.end) == ("linux", 0x8020_0000, 0x8020_1000)


def test_compressed_image_is_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "Image.gz"
    path.write_bytes(gzip.compress(linux_image(b"kernel")))
    assert read_program(path, "--kernel").kind == "linux"


def test_a_pipe_is_read(tmp_path: Path) -> None:
    path, data = tmp_path / "pipe", linux_image(bytes(2 << 20))
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(data,))
    writer.start()
    (segment,) = read_program(path, "--kernel").segments
    writer.join()
    assert segment.data == data


def test_anything_else_is_raw(tmp_path: Path) -> None:
    path = tmp_path / "raw"
    path.write_bytes(b"\x13\0\0\0")
    program = read_program(path, "--kernel").at(0x8000_0000)
    assert (program.kind, program.start, program.end) == ("raw", 0x8000_0000, 0x8000_0004)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_a_damaged_elf_is_a_user_error_or_loads(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """No damage gets past as another exception."""
    image = bytearray(elves.elf(b"code" * 4, symbols={"main": 5}))
    for _ in range(data.draw(st.integers(1, 4))):
        image[data.draw(st.integers(4, len(image) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(image[: data.draw(st.integers(4, len(image)))])
    try:
        read_program(path, "--kernel")
    except UserError as error:
        assert "\n" not in str(error)
