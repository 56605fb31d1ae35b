"""Whether the log still has what was not written to its place: the reader does not apply it, and has to say so.

Rule of the file: it looks at the last record only, and takes a log that it does not understand for one in use.
"""

from __future__ import annotations

import struct

from workers.disks.volume import Damaged, Volume, read_exactly
from workers.disks.xfs.superblock import Superblock

_SECTOR = 512
_RECORD = 0xFEEDBABE
_UNMOUNT = 0x20
_MOST_BACK = 600  # a record has at most 256 KiB and its headers


def is_quiet(volume: Volume, sb: Superblock) -> bool:
    """Tell whether nothing of consequence is in the log alone: unmounted in good order, or brought to rest."""
    if not sb.log_start or not sb.log_blocks:
        return False  # on another device
    try:
        begin, sectors = sb.block_at(sb.log_start), sb.log_blocks * (sb.block_size // _SECTOR)
        head = _head(volume, begin, sectors)
        for back in range(1, min(_MOST_BACK, sectors)):
            at = (head - back) % sectors
            header = read_exactly(volume, begin + at * _SECTOR, _SECTOR)
            if struct.unpack_from(">I", header)[0] == _RECORD:
                return _says_rest(volume, begin, sectors, at, header)
    except (Damaged, struct.error):
        return False
    return False


def _head(volume: Volume, begin: int, sectors: int) -> int:
    """Return the sector behind the newest one: from there on they are of an earlier turn through the ring."""
    first = _turn(volume, begin)
    if _turn(volume, begin + (sectors - 1) * _SECTOR) == first:
        return 0
    low, high = 0, sectors - 1
    while high - low > 1:
        middle = (low + high) // 2
        if _turn(volume, begin + middle * _SECTOR) == first:
            low = middle
        else:
            high = middle
    return high


def _turn(volume: Volume, at: int) -> int:
    data = read_exactly(volume, at, 8)
    first = int.from_bytes(data[:4], "big")
    return int.from_bytes(data[4:], "big") if first == _RECORD else first


def _says_rest(volume: Volume, begin: int, sectors: int, at: int, header: bytes) -> bool:
    _, _, version, _, own, tail, _, previous, operations = struct.unpack_from(">IIIIQQIII", header)
    size = struct.unpack_from(">I", header, 320)[0] if version == 2 else 0
    headers = max(1, -(-size // 32768))
    data = read_exactly(volume, begin + (at + headers) % sectors * _SECTOR, 16)
    if operations == 1 and data[9] & _UNMOUNT:
        return True
    return bool(tail == own or tail & 0xFFFFFFFF == previous)
