"""TCP packets in frames, put together by hand."""

from __future__ import annotations

import struct

ACK = 0x10


def checksum(data: bytes) -> int:
    """RFC 1071, word by word."""
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def pseudo(ip: bytes, length: int) -> bytes:
    addresses = ip[8:40] if ip[0] >> 4 == 6 else ip[12:20]
    return addresses + struct.pack(">IHH", length, 0, 6)


def packet(
    version: int,
    payload: bytes,
    number: int = 1000,
    flags: int = ACK,
    options: bytes = b"",
    identity: int = 7,
    tag: bytes = b"",
) -> bytes:
    """A whole frame, its checksums right."""
    length = 20 + len(options) + len(payload)
    tcp = struct.pack(
        ">HHIIBBHHH", 80, 4000, number, 99, (5 + len(options) // 4) << 4, flags, 512, 0, 0
    )
    if version == 4:
        ip = struct.pack(">BBHHHBBH", 0x45, 0, 20 + length, identity, 0x4000, 64, 6, 0)
        ip += bytes([10, 0, 0, 1, 10, 0, 0, 2])
        ip = ip[:10] + struct.pack(">H", ~checksum(ip) & 0xFFFF) + ip[12:]
    else:
        ip = struct.pack(">IHBB", 6 << 28, length, 6, 64) + bytes(range(32))
    segment = tcp + options + payload
    right = ~checksum(pseudo(ip, length) + segment) & 0xFFFF
    segment = segment[:16] + struct.pack(">H", right) + segment[18:]
    kind = b"\x08\0" if version == 4 else b"\x86\xdd"
    return bytes.fromhex("020000000001020000000002") + tag + kind + ip + segment
