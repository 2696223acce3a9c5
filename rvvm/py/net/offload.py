"""Work on frames that guests leave to their network device, for far ends that take none of it over:
checksums, and cutting what is longer than a frame; and the way back, frames joined into one.

A frame that may need such work has a header before it, as virtio 1.2 (5.1.6) and taps say.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

Views = Sequence[memoryview]

# 5.1.6: struct virtio_net_hdr
HEADER = struct.Struct("<BBHHHHH")  # flags, gso_type, hdr_len, gso_size, csum_start, _offset, count
NEEDS_CSUM, DATA_VALID = 1, 2
GSO_NONE, GSO_TCPV4, GSO_TCPV6, GSO_ECN = 0, 1, 4, 0x80

MOST_SEGMENTS = 256
"""Of one frame. TCP's smallest usual ones (RFC 9293, 3.7.1: 536 bytes) make 123."""
_PIECE = 1 << 13  # a sum of long numbers is soonest made of shorter ones
_LONGEST_PACKET = 0xFFFF

# Where things are: Ethernet, RFC 791, RFC 8200, RFC 9293
_TYPE, _ETHERNET, _TAG = 12, 14, 4
_TAGGED, _IPV4, _IPV6 = b"\x81\x00", b"\x08\x00", b"\x86\xdd"
_V4_BYTES, _V6_BYTES, _TCP_BYTES = 20, 40, 20
_TCP = 6  # protocol
_CHECKSUM = 16  # of a TCP header
_FIN, _PSH, _ACK, _CWR = 0x01, 0x08, 0x10, 0x80


def ones_sum(data: memoryview | bytes) -> int:
    """RFC 1071, modulo 65,535: a number is congruent to the sum of its digits of 16 bits.

    >>> hex(ones_sum(bytes.fromhex("0001f203f4f5f6f7"))), ones_sum(b"\\1")
    ('0xddf2', 256)
    """
    total = last = 0
    for at in range(0, len(data), _PIECE):
        last = int.from_bytes(data[at : at + _PIECE], "big")
        total += last
    if len(data) % 2:
        total += 0xFF * last  # as if a zero byte followed
    return total % 0xFFFF


def finish(header: bytes | memoryview, frame: Views) -> list[Views]:
    """The frames that the guest means, complete; none when that makes no sense."""
    flags, kind, _, size, start, offset, _ = HEADER.unpack(header)
    kind &= ~GSO_ECN
    if not flags & NEEDS_CSUM:
        return [frame] if kind == GSO_NONE else []
    data = bytearray().join(frame)
    if start + offset + 2 > len(data):
        return []
    if kind != GSO_NONE:
        return list(_cut(data, kind, size, start))
    # 5.1.6.2: the driver has put the pseudo header's sum where the checksum will be
    _store_checksum(data, start + offset, ones_sum(memoryview(data)[start:]))
    return [[memoryview(data)]]


def _store_checksum(data: bytearray, at: int, total: int) -> None:
    struct.pack_into(">H", data, at, ~total & 0xFFFF)  # never 0: total is less than 0xFFFF


def _cut(data: bytearray, kind: int, size: int, tcp: int) -> Iterator[Views]:
    """Segments of ``size`` bytes each, as RFC 9293 wants a sender's."""
    ip = _ip(data, kind, tcp)
    head = tcp + 4 * (data[tcp + 12] >> 4) if tcp + _TCP_BYTES <= len(data) else 0
    if not ip or not tcp + _TCP_BYTES <= head < len(data):
        return
    if size == 0 or len(data) - head > size * MOST_SEGMENTS:
        return
    whole = memoryview(data)
    first = bytearray(data[:head])
    first[tcp + _CHECKSUM : tcp + _CHECKSUM + 2] = bytes(2)
    (number,) = struct.unpack_from(">I", first, tcp + 4)
    flags = first[tcp + 13]
    for at in range(head, len(data), size):
        last = at + size >= len(data)
        own = bytearray(first)
        struct.pack_into(">I", own, tcp + 4, number + at - head & 0xFFFF_FFFF)
        begin = 0 if at == head else _CWR
        own[tcp + 13] = flags & ~begin & ~(0 if last else _FIN | _PSH)
        payload = whole[at : at + size]
        _complete(own, ip, tcp, payload, (at - head) // size)
        yield [memoryview(own), payload]


def _ip(data: bytearray, kind: int, tcp: int) -> int:
    """Where the IP header is; 0 when there is none, or another than ``kind`` says."""
    tagged = data[_TYPE : _TYPE + 2] == _TAGGED
    ip = _ETHERNET + (_TAG if tagged else 0)
    proto = data[ip - 2 : ip]
    if kind == GSO_TCPV4 and proto == _IPV4 and len(data) >= ip + _V4_BYTES:
        return ip if ip + _v4_bytes(data, ip) == tcp >= ip + _V4_BYTES else 0
    if kind == GSO_TCPV6 and proto == _IPV6:
        return ip if ip + _V6_BYTES <= tcp else 0
    return 0


def _v4_bytes(data: bytearray, ip: int) -> int:
    return 4 * (data[ip] & 0xF)


def _complete(head: bytearray, ip: int, tcp: int, payload: memoryview, number: int = 0) -> None:
    """Lengths and checksums of the headers before a payload."""
    length = len(head) - tcp + len(payload)
    _set_lengths(head, ip, tcp, length, number)
    own = ones_sum(memoryview(head)[tcp:])
    _store_checksum(
        head, tcp + _CHECKSUM, (_pseudo(head, ip, length) + own + ones_sum(payload)) % 0xFFFF
    )


def _set_lengths(head: bytearray, ip: int, tcp: int, length: int, number: int = 0) -> None:
    """The IP header's, which covers ``length`` bytes from the TCP header on; with its checksum."""
    if head[ip] >> 4 == 6:
        struct.pack_into(">H", head, ip + 4, tcp - ip - _V6_BYTES + length)
        return
    (identity,) = struct.unpack_from(">H", head, ip + 4)
    struct.pack_into(">HH", head, ip + 2, tcp - ip + length, identity + number & 0xFFFF)
    head[ip + 10 : ip + 12] = bytes(2)
    _store_checksum(head, ip + 10, ones_sum(memoryview(head)[ip:tcp]))


def _pseudo(head: bytearray, ip: int, length: int) -> int:
    """RFC 9293, 3.1; RFC 8200, 8.1: the sum of addresses, protocol and length."""
    addresses = (
        memoryview(head)[ip + 8 : ip + 40]
        if head[ip] >> 4 == 6
        else memoryview(head)[ip + 12 : ip + 20]
    )
    return (ones_sum(addresses) + _TCP + length) % 0xFFFF


# The way back


class Packet(NamedTuple):
    """What goes to a guest at once: the header, a frame, and of how many frames it is made."""

    header: bytes
    frame: Views
    frames: int = 1


class _Segment(NamedTuple):
    frame: memoryview
    ip: int
    tcp: int
    head: int
    flow: bytes  # what all segments have the same
    number: int
    flags: int

    @property
    def following(self) -> int:
        return self.number + len(self.frame) - self.head & 0xFFFF_FFFF


PLAIN = HEADER.pack(0, GSO_NONE, 0, 0, 0, 0, 1)
VALID = HEADER.pack(DATA_VALID, GSO_NONE, 0, 0, 0, 0, 1)


def join(frames: Sequence[memoryview], kinds: Sequence[int]) -> Iterator[Packet]:
    """The frames in their order; TCP segments that follow each other, of the ``kinds`` of packets,
    as one. Their checksums have been looked at by who sent them here."""
    run: list[_Segment] = []
    for frame in frames:
        segment = _segment(frame, kinds)
        if run and not (segment and _follows(run, segment)):
            yield _joined(run)
            run = []
        if segment is None:
            yield Packet(VALID, [frame])
        else:
            run.append(segment)
    if run:
        yield _joined(run)


def _segment(frame: memoryview, kinds: Sequence[int]) -> _Segment | None:
    """A frame with data of a TCP's and nothing unusual."""
    if len(frame) <= _ETHERNET + _V4_BYTES + _TCP_BYTES:
        return None
    ip, proto = _ETHERNET, frame[_TYPE:_ETHERNET]
    if proto == _IPV4 and GSO_TCPV4 in kinds:
        tcp, tos, lives = ip + _V4_BYTES, frame[ip : ip + 2], frame[ip + 6 : ip + 10]
        (length,) = struct.unpack_from(">H", frame, ip + 2)
        # No options, not a fragment
        usual = (
            frame[ip] == 0x45
            and frame[ip + 9] == _TCP
            and frame[ip + 6] & 0x3F == frame[ip + 7] == 0
        )
        addresses = frame[ip + 12 : tcp + 4]
    elif proto == _IPV6 and GSO_TCPV6 in kinds and len(frame) > ip + _V6_BYTES + _TCP_BYTES:
        tcp, tos, lives = ip + _V6_BYTES, frame[ip : ip + 4], frame[ip + 6 : ip + 8]
        (length,) = struct.unpack_from(">H", frame, ip + 4)
        length += _V6_BYTES
        usual = frame[ip + 6] == _TCP
        addresses = frame[ip + 8 : tcp + 4]
    else:
        return None
    head, flags = tcp + 4 * (frame[tcp + 12] >> 4), frame[tcp + 13]
    if not usual or ip + length != len(frame) or not tcp + _TCP_BYTES <= head < len(frame):
        return None
    if flags & ~_PSH != _ACK:
        return None
    options = frame[tcp + 18 : head]
    flow = b"".join((frame[:ip], tos, lives, addresses, frame[tcp + 8 : tcp + 13], options))
    (number,) = struct.unpack_from(">I", frame, tcp + 4)
    return _Segment(frame, ip, tcp, head, flow, number, flags)


def _follows(run: list[_Segment], segment: _Segment) -> bool:
    first, last = run[0], run[-1]
    size, own = len(first.frame) - first.head, len(segment.frame) - segment.head
    return (
        segment.flow == first.flow
        and segment.number == last.following
        and len(last.frame) == len(first.frame)  # a shorter one is the last
        and own <= size
        and not last.flags & _PSH
        and (len(run) + 1) * size + first.head - first.ip <= _LONGEST_PACKET
    )


def _joined(run: list[_Segment]) -> Packet:
    first = run[0]
    if len(run) == 1:
        return Packet(VALID, [first.frame])
    ip, tcp, head = first.ip, first.tcp, first.head
    own = bytearray(first.frame[:head])
    own[tcp + 13] = run[-1].flags
    payloads = [segment.frame[head:] for segment in run]
    length = head - tcp + sum([len(payload) for payload in payloads])
    _set_lengths(own, ip, tcp, length)
    # 5.1.6.4.1: with a gso_type comes NEEDS_CSUM, and so the pseudo header's sum
    struct.pack_into(">H", own, tcp + _CHECKSUM, _pseudo(own, ip, length))
    kind = GSO_TCPV6 if own[ip] >> 4 == 6 else GSO_TCPV4
    size = len(first.frame) - head
    header = HEADER.pack(NEEDS_CSUM, kind, head, size, tcp, _CHECKSUM, 1)
    return Packet(header, [memoryview(own), *payloads], len(run))
