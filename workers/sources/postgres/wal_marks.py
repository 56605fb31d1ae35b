"""What the log says about times and names: the last transaction's end, and restore points.

A time to restore to that lies behind the last transaction is no target that PostgreSQL reaches, and a name has to be
known before anything is written: so the log is looked through as it passes. Only two kinds of record are looked for, by
their header; each is believed when its checksum is right, or, for a long one, when it points back to a likely place.
Of a log that is not laid out like that, nothing is known: a time is then always looked for.

Layout of pages and records: PostgreSQL's ``xlog_internal.h`` and ``xlogrecord.h``; little-endian machines.

Rule of the file: it looks on; whatever it meets, it raises nothing and holds nothing up.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np

from workers.sources.postgres.lsn import from_server, show_lsn, to_server
from workers.sources.postgres.window import RestorePoint, parse_time, show_time

PAGE: Final = 8192
_MAGIC = 0xD1  # the second byte of every page, of all versions
_UNKNOWN = "9999-12-31T23:59:59.999999Z"
_SHORT, _LONG = 24, 40  # headers of a page, and of the first one of a segment
_HEADER = 24  # of a record
_XACT = 1 << 8  # the low words of info and resource manager, as one number
_ENDS = tuple(info | _XACT for info in (0x00, 0x20, 0x30, 0x40, 0x80, 0xA0, 0xB0, 0xC0))  # 0x80: has extra info
_KIND = 0xFFFFFFF0  # without the four flags of whoever wrote the record, such as that relations are dropped
_NAMED = 0x70  # XLOG_RESTORE_POINT of resource manager 0
_PIECE = 128 * PAGE
_CARRY = 2 * PAGE
_MOST_CHECKED = 4096
_ENOUGH = 64  # bytes of a long record tell when it was: one that drops thousands of tables may have megabytes


class _Record(NamedTuple):
    position: int  # in the stream of records
    data: bytes  # what follows the header


class WalMarks:
    """Is shown the log of whole segments, in order and without a gap."""

    def __init__(self, start: int, segment: int) -> None:
        """``start`` is where a segment begins."""
        self._segment = segment
        self._at = start
        self._pending = bytearray()
        self._stream = np.empty(0, dtype=np.uint8)  # records without page headers: what is left of the last look
        self._spots: list[tuple[int, int]] = []  # (offset in the stream, position in the log) of pages in it
        self._last: int | None = None
        self._foreign = False
        self.named: list[RestorePoint] = []

    @property
    def last_change(self) -> str:
        """When the last transaction ended, as windows have it; empty when none was seen."""
        if self._foreign:
            return _UNKNOWN
        return show_time(from_server(self._last)) if self._last is not None else ""

    def show(self, data: bytes | memoryview) -> None:
        """Look at what comes next."""
        self._pending += data
        while len(self._pending) >= _PIECE:
            self._look(bytes(self._pending[:_PIECE]))
            del self._pending[:_PIECE]

    def end(self) -> None:
        """Look at the rest."""
        self._look(bytes(self._pending) + bytes(-len(self._pending) % PAGE))
        self._pending.clear()

    # ── inside ───────────────────────────────────────────────────────────────────────────────────────

    def _look(self, data: bytes) -> None:
        if not data:
            return
        new, spots = self._without_headers(data)
        kept = self._stream[-_CARRY:] if len(self._stream) > _CARRY else self._stream
        dropped = len(self._stream) - len(kept)
        self._spots = [(offset - dropped, position) for offset, position in self._spots]
        self._spots = [spot for spot in self._spots if spot[0] > -PAGE] + [(o + len(kept), p) for o, p in spots]
        self._stream = np.concatenate([kept, new])
        self._find()

    def _without_headers(self, data: bytes) -> tuple[np.ndarray, list[tuple[int, int]]]:
        pieces, spots, length = [], [], 0
        everything = np.frombuffer(data, dtype=np.uint8)
        for at in range(0, len(data), PAGE):
            if data[at + 1] != _MAGIC and any(data[at : at + PAGE]):
                self._foreign = True
            header = _LONG if (self._at + at) % self._segment == 0 else _SHORT
            pieces.append(everything[at + header : at + PAGE])
            spots.append((length, self._at + at + header))
            length += PAGE - header
        self._at += len(data)
        return np.concatenate(pieces), spots

    def _find(self) -> None:
        words = self._stream[: len(self._stream) // 8 * 8].view("<u8")
        kinds = (words & _KIND).astype(np.uint32)[2:]  # of the record that begins two words before
        ends = np.flatnonzero(np.isin(kinds, _ENDS))
        for place in ends[::-1].tolist():
            record = self._record(place * 8)
            time = _time_of_end(record) if record else None
            if time is not None:
                self._last = max(time, self._last or time)
                break
        known = {(one.name, one.position) for one in self.named}
        for place in np.flatnonzero(kinds == _NAMED).tolist():
            record = self._record(place * 8)
            name = _name_of(record) if record else ""
            if record and name:
                point = RestorePoint(name=name, position=show_lsn(self._position(record.position)))
                if (point.name, point.position) not in known:
                    self.named.append(point)

    def _record(self, at: int) -> _Record | None:
        """Return the record that begins here, None when none does, or it does not end in what is there."""
        head = self._stream[at : at + _HEADER].tobytes()
        length = int.from_bytes(head[:4], "little")
        previous = int.from_bytes(head[8:16], "little")
        position = self._position(at)
        if length < _HEADER + 10 or not position - (1 << 30) <= previous < position or previous % 8:
            return None
        data = self._stream[at + _HEADER : at + length].tobytes()
        checked = length <= _MOST_CHECKED
        if len(data) < (length - _HEADER if checked else _ENOUGH):
            return None
        if checked and crc32c(data + head[:20]) != int.from_bytes(head[20:24], "little"):
            return None
        return _Record(at, data)

    def _position(self, at: int) -> int:
        offset, position = max((spot for spot in self._spots if spot[0] <= at), default=(at, self._at))
        return position + at - offset


def _time_of_end(record: _Record) -> int | None:
    """Return when a transaction ended, in microseconds since 2000."""
    data = _main_data(record.data)
    if data is None or len(data) < 8:
        return None
    time = int.from_bytes(data[:8], "little", signed=True)
    return time if _SANE[0] < time < _SANE[1] else None


def _name_of(record: _Record) -> str:
    data = _main_data(record.data)
    if data is None or len(data) != 8 + 64:
        return ""
    return data[8:].partition(b"\0")[0].decode("utf-8", "replace")


def _main_data(data: bytes) -> bytes | None:
    """Return what a record without blocks says; what may stand before are an origin and the upper transaction."""
    at = 0
    while at < len(data):
        kind = data[at]
        if kind == 0xFD:
            at += 3
        elif kind == 0xFC:
            at += 5
        elif kind == 0xFF:
            return data[at + 2 : at + 2 + data[at + 1]]
        elif kind == 0xFE:
            return data[at + 5 : at + 5 + int.from_bytes(data[at + 1 : at + 5], "little")]
        else:
            return None
    return None


_SANE = (to_server(parse_time("2000-01-02")), to_server(parse_time("2200-01-01")))


def _table() -> Iterator[int]:
    for number in range(256):
        value = number
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        yield value


_TABLE = tuple(_table())


def crc32c(data: bytes) -> int:
    """Return the checksum that records have."""
    value = 0xFFFFFFFF
    for byte in data:
        value = _TABLE[(value ^ byte) & 0xFF] ^ value >> 8
    return value ^ 0xFFFFFFFF
