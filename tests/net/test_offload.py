"""What a network device finishes for its far end, against packets put together by hand."""

from __future__ import annotations

import random
import struct

import pytest

from net.packets import checksum, packet, pseudo
from rvvm.py.net.offload import finish, join

CSUM, TCPV4, TCPV6, ECN = 1, 1, 4, 0x80
FIN, SYN, PSH, ACK, CWR = 1, 2, 8, 0x10, 0x80
VERSIONS = pytest.mark.parametrize("version", [4, 6])


def header(kind: int, size: int, tcp: int, flags: int = CSUM) -> bytes:
    return struct.pack("<BBHHHHH", flags, kind, 0, size, tcp, 16, 0)


def cut(kind: int, size: int, tcp: int, frame: bytes) -> list[bytes]:
    pieces = [memoryview(frame[:40]), memoryview(frame[40:])]
    return [b"".join(views) for views in finish(header(kind, size, tcp), pieces)]


@VERSIONS
@pytest.mark.parametrize("tag", [b"", b"\x81\0\0\5"])
@pytest.mark.parametrize("size", [1, 700, 999, 3000, 8960])
def test_segments(version: int, tag: bytes, size: int) -> None:
    data = random.Random(size).randbytes(3000 if size > 1 else 40)
    options, tcp = b"\1\1\1\0", 14 + len(tag) + (20 if version == 4 else 40)
    whole = packet(version, data, 0xFFFF_FF00, ACK | PSH | FIN, options, tag=tag)
    broken = whole[: tcp + 16] + b"\xab\xcd" + whole[tcp + 18 :]
    parts = [data[k : k + size] for k in range(0, len(data), size)]
    expected = [
        packet(
            version,
            part,
            0xFFFF_FF00 + k * size & 0xFFFF_FFFF,
            ACK | (PSH | FIN if k == len(parts) - 1 else 0),
            options,
            7 + k,
            tag,
        )
        for k, part in enumerate(parts)
    ]
    assert cut(TCPV4 if version == 4 else TCPV6, size, tcp, broken) == expected


def test_congestion_is_told_once() -> None:
    """RFC 3168, 6.1.2: CWR is in the first segment."""
    frames = cut(TCPV4 | ECN, 100, 34, packet(4, bytes(300), flags=ACK | CWR))
    assert [frame[47] for frame in frames] == [ACK | CWR, ACK, ACK]


def test_what_makes_no_sense() -> None:
    good = packet(4, bytes(3000))
    long_header = good[:46] + b"\xf0" + good[47:]
    for kind, size, tcp, frame in (
        (TCPV4, 0, 34, good),
        (TCPV4, 1, 34, good),  # too many
        (TCPV6, 1000, 34, good),
        (TCPV4, 1000, 54, good),
        (TCPV4, 1000, 34, good[:54]),  # no data
        (TCPV4, 1000, 34, good[:50]),
        (TCPV4, 1000, 34, long_header[:80]),
        (3, 1000, 34, good),  # UDP fragments were never offered
        (99, 1000, 34, good),
        (TCPV4, 1000, 60000, good),
        (TCPV6, 1000, 34, packet(6, bytes(3000))),
        (TCPV4, 1000, 34, b""),
        (TCPV4, 1000, 14, good),
    ):
        assert cut(kind, size, tcp, frame) == []
    assert finish(header(TCPV4, 1000, 34, flags=0), [memoryview(good)]) == [], "needs a checksum"


@VERSIONS
def test_joined(version: int) -> None:
    """And cut again: as it was."""
    data = bytes(range(256)) * 12
    tcp, kind = (34, TCPV4) if version == 4 else (54, TCPV6)
    frames = [
        packet(
            version, data[k : k + 1000], 5000 + k, ACK | PSH * (k == 3000), identity=7 + k // 1000
        )
        for k in range(0, len(data), 1000)
    ]
    (one,) = join([memoryview(frame) for frame in frames], [TCPV4, TCPV6])
    flags, is_kind, head, size, start, offset, _ = struct.unpack("<BBHHHHH", one.header)
    assert (flags, is_kind, head, size, start, offset) == (CSUM, kind, tcp + 20, 1000, tcp, 16)
    assert one.frames == 4
    whole = b"".join(one.frame)
    ip = whole[14:tcp]
    assert whole[tcp + 20 :] == data and whole[tcp + 13] == ACK | PSH
    # 5.1.6.2: there is the pseudo header's sum
    assert struct.unpack_from(">H", whole, tcp + 16)[0] % 0xFFFF == (
        checksum(pseudo(ip, 20 + len(data))) % 0xFFFF
    )
    if version == 4:
        assert checksum(ip) == 0xFFFF
    assert cut(kind, 1000, tcp, whole) == frames


def test_joined_only_what_is_of_one_piece() -> None:
    def counts(*frames: bytes, kinds: tuple[int, ...] = (TCPV4, TCPV6)) -> list[int]:
        return [one.frames for one in join([memoryview(frame) for frame in frames], kinds)]

    def some(number: int, size: int = 100, flags: int = ACK, **more: bytes) -> bytes:
        return packet(4, bytes(size), number, flags, **more)

    assert counts(some(0), some(100), some(200)) == [3]
    assert counts(some(0), some(100), kinds=()) == [1, 1]
    assert counts(some(0), some(101)) == [1, 1], "something is missing"
    assert counts(some(0), some(100, 50), some(150, 50)) == [2, 1], "a short one is the last"
    assert counts(some(0), some(100, 150)) == [1, 1], "a longer one"
    assert counts(some(0, flags=ACK | PSH), some(100)) == [1, 1]
    assert counts(some(0), some(100, flags=ACK | FIN)) == [1, 1]
    assert counts(some(0), some(100, flags=ACK | SYN)) == [1, 1]
    assert counts(some(0, options=b"\1\1\1\1"), some(100)) == [1, 1]
    assert counts(some(0), some(100) + b"\0") == [1, 1], "padding"
    assert counts(some(0), some(100, 0), some(100)) == [1, 1, 1], "an acknowledgement"
    assert counts(b"", b"x" * 14, some(0)[:40], some(0)) == [1, 1, 1, 1]
    for at in (0, 6, 15, 20, 23, 26, 33, 34, 37, 42):  # of the headers of both
        other = bytearray(some(100))
        other[at] ^= 1
        assert counts(some(0), bytes(other)) == [1, 1], at
    assert counts(*(some(9000 * k, 9000) for k in range(10))) == [7, 3], "65,535 bytes"


def test_random_frames_do_no_harm() -> None:
    rng = random.Random(1)
    for _ in range(3000):
        version = rng.choice((4, 6))
        frame = bytearray(packet(version, rng.randbytes(rng.randrange(300))))
        for _ in range(rng.randrange(4)):
            frame[rng.randrange(len(frame))] = rng.randrange(256)
        frame = frame[: rng.randrange(len(frame) + 1)]
        how = header(rng.choice((0, 1, 4)), rng.randrange(400), rng.choice((0, 14, 34, 54, 500)))
        finish(how, [memoryview(frame)])
        assert sum(one.frames for one in join([memoryview(frame)] * 2, (1, 4))) == 2
