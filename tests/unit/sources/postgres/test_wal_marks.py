"""What is seen in a log that was written by hand: long records, cut at any place, and logs of another layout."""

from __future__ import annotations

import struct

import pytest

from workers.sources.postgres.wal_marks import PAGE, WalMarks, crc32c

SEGMENT = 4 << 20
THROUGH_THE_CUT = 1_045_472  # the log is looked at in pieces, of which the first ends here
_LONG, _SHORT = 40, 24


def _record(at: int, info: int, data: bytes) -> bytes:
    """Return a record of a transaction's end with this main data, at this place of the stream."""
    body = b"\xfe" + struct.pack("<I", len(data)) + data
    head = struct.pack("<IIQBBH", 24 + len(body), 7, at - 8, info, 1, 0)
    return head + struct.pack("<I", crc32c(body + head)) + body


def _log(*records: tuple[int, bytes]) -> bytes:
    """Return a segment with records at these places of the stream of records, in pages with headers."""
    stream = bytearray(SEGMENT - _LONG - (SEGMENT // PAGE - 1) * _SHORT)
    for at, record in records:
        stream[at : at + len(record)] = record
    pages, at = [], 0
    for number in range(SEGMENT // PAGE):
        header = _LONG if number == 0 else _SHORT
        pages.append(b"\x18\xd1" + bytes(header - 2) + stream[at : at + PAGE - header])
        at += PAGE - header
    return b"".join(pages)


def _end(at: int, seconds: int, *, info: int = 0x80, size: int = 100) -> tuple[int, bytes]:
    return at, _record(at, info, struct.pack("<q", seconds * 10**6) + bytes(size))


def _seen(log: bytes, piece: int = 8000) -> str:
    marks = WalMarks(0, SEGMENT)
    for at in range(0, len(log), piece):
        marks.show(log[at : at + piece])
    marks.end()
    return marks.last_change


DAY = 86400


@pytest.mark.parametrize("place", [8, 8000, 8128, 8136, 8144, 8152, 500_000 // 8 * 8, THROUGH_THE_CUT])
@pytest.mark.parametrize("info", [0x00, 0x20, 0x80, 0x81, 0x82, 0xB0, 0xC3])
def test_the_last_end_of_a_transaction_is_seen_wherever_it_is_and_whatever_flags_it_has(place: int, info: int) -> None:
    assert _seen(_log(_end(place, 400 * DAY, info=info))) == "2001-02-04T00:00:00.000000Z"


@pytest.mark.parametrize("size", [100, 5_000, 20_000, 300_000, 1_500_000])
def test_a_long_record_counts_as_well_as_a_short_one(size: int) -> None:
    for place in (130_000 // 8 * 8, THROUGH_THE_CUT - 900_000 // 8 * 8, THROUGH_THE_CUT - 24_000, THROUGH_THE_CUT):
        early, late = _end(64, 400 * DAY), _end(place, 401 * DAY, size=size)
        assert _seen(_log(early, late)) == "2001-02-05T00:00:00.000000Z"


def test_what_only_looks_like_a_record_does_not_count() -> None:
    at, record = _end(64, 400 * DAY)
    spoilt = record[:40] + b"!" + record[41:]
    assert _seen(_log((at, spoilt))) == ""
    other = _record(at, 0x10, struct.pack("<q", 400 * DAY * 10**6))  # a transaction that is prepared has not ended
    assert _seen(_log((at, other))) == ""


def test_of_a_log_that_is_laid_out_otherwise_no_end_is_known_so_every_time_is_before_it() -> None:
    log = bytearray(_log(_end(64, 400 * DAY)))
    log[5 * PAGE + 1] = 0x00
    log[5 * PAGE] = 0xD1
    assert _seen(bytes(log)).startswith("9999")
