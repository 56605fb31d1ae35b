"""Physical volumes of LVM2 made of text: for what the real tools refuse to make."""

from __future__ import annotations

import struct
import zlib

from tests.unit.disks.memory import Memory

_INVERTED = 0xFFFFFFFF
UUID = "PPPPPP-PPPP-PPPP-PPPP-PPPP-PPPP-PPPPPP"


def crc(data: bytes) -> int:
    return zlib.crc32(data, 0xF597A6CF ^ _INVERTED) ^ _INVERTED


def member(*texts: str, size: int = 1 << 20, damaged: tuple[int, ...] = (), start: int = 512) -> Memory:
    """Make a member with a description in each of its areas; some of them with a wrong checksum.

    Descriptions begin at ``start`` of their area, which is a ring.
    """
    disk = bytearray(size)
    areas = [(4096 + number * 65536, 65536) for number in range(len(texts))]
    header = UUID.replace("-", "").encode() + struct.pack("<Q", size)
    header += struct.pack("<QQQQ", 512 * 1024, 0, 0, 0) + b"".join(struct.pack("<QQ", *area) for area in areas)
    header += bytes(16)
    disk[512 : 512 + 32] = struct.pack("<8sQII8s", b"LABELONE", 1, 0, 32, b"LVM2 001")
    disk[512 + 32 : 512 + 32 + len(header)] = header
    for number, ((offset, length), text) in enumerate(zip(areas, texts, strict=True)):
        raw = text.encode() + b"\0"
        rest = b" LVM2 x[5A%r0N*>" + struct.pack("<IQQ", 1, offset, length)
        rest += struct.pack("<QQII", start, len(raw), crc(raw) ^ (number in damaged), 0)
        rest = rest.ljust(508, b"\0")
        disk[offset : offset + 512] = struct.pack("<I", crc(rest)) + rest
        first = raw[: length - start]
        disk[offset + start : offset + start + len(first)] = first
        disk[offset + 512 : offset + 512 + len(raw) - len(first)] = raw[len(first) :]
    return Memory(disk)


def group(volumes: str, *, sequence: int = 1, extent: int = 8) -> str:
    """Describe a group with one member of 60 extents of 4 KiB."""
    return (
        f'vg0 {{ id = "group" seqno = {sequence} extent_size = {extent}\n physical_volumes {{ pv0 {{ id = "{UUID}" '
        f"pe_start = 1024 pe_count = 60 }} }}\n logical_volumes {{ {volumes} }} }}\n# a comment\nversion = 1\n"
    )


def volume(name: str, *segments: str, visible: bool = True) -> str:
    status = '["READ", "VISIBLE"]' if visible else '["READ"]'
    numbered = " ".join(f"segment{number} {{ {text} }}" for number, text in enumerate(segments, 1))
    return f"{name} {{ status = {status} {numbered} }} "


def linear(begin: int, count: int, at: int, kind: str = "striped") -> str:
    return f'start_extent = {begin} extent_count = {count} type = "{kind}" stripe_count = 1 stripes = ["pv0", {at}]'
