"""What the journal remembers, and when it says that it does not know."""

import struct

import pytest

from workers.sources.journal import record as records
from workers.sources.journal.fanotify import CREATE, DELETE, MODIFY, MOVED_TO, ONDIR, OVERFLOW, Event, Node, inode_of
from workers.sources.journal.record import Record


def _handle(number, kind=1, size=8):
    return struct.pack("<Ii", size, kind) + number.to_bytes(size, "little")


def _folder(number):
    return Node(7, _handle(number))


def _happened(record, mark):
    told = record.since(mark)
    return told.gap, {handle for _, handle in told.folders}, {handle for _, handle in told.fresh}


def test_what_happened_is_told_to_every_mark_before_it():
    record = Record({})
    one = record.mark()
    record.take([Event(CREATE | ONDIR, _folder(1), _folder(2))])
    two = record.mark()
    record.take([Event(DELETE | ONDIR, _folder(3), _folder(4))])
    assert _happened(record, one) == ("", {_handle(1), _handle(3)}, {_handle(2)})
    assert _happened(record, two) == ("", {_handle(3)}, set())
    assert _happened(record, record.mark()) == ("", set(), set())


def test_what_happens_again_is_told_to_later_marks_as_well():
    record = Record({})
    record.take([Event(MOVED_TO | ONDIR, _folder(1), _folder(2))])
    mark = record.mark()
    record.take([Event(MOVED_TO | ONDIR, _folder(1), _folder(2))])
    assert _happened(record, mark) == ("", {_handle(1)}, {_handle(2)})


@pytest.mark.parametrize(
    "event", [Event(OVERFLOW, None, None), Event(MODIFY, None, None), Event(MODIFY | ONDIR, None, _folder(1))]
)
def test_what_is_not_understood_makes_every_earlier_mark_worthless(event):
    record = Record({})
    mark = record.mark()
    record.take([event])
    assert record.since(mark).gap
    assert not record.since(record.mark()).gap


def test_more_than_it_remembers_makes_a_gap(monkeypatch):
    monkeypatch.setattr(records, "MOST", 10)
    record = Record({})
    mark = record.mark()
    record.take([Event(CREATE | ONDIR, _folder(number), None) for number in range(11)])
    assert record.since(mark).gap == "more has changed than the journal remembers"
    assert record.since(record.mark()).folders == ()


def test_a_file_that_cannot_be_opened_is_doubted_by_the_number_in_its_handle():
    record = Record({})  # that knows no file system
    mark = record.mark()
    record.take([Event(MODIFY, _folder(1), Node(7, _handle(4711)))])
    assert record.since(mark).inodes == (4711,)
    record.take([Event(MODIFY, _folder(1), Node(7, _handle(4711, kind=0x99)))])
    assert record.since(mark).gap.startswith("a changed file could not be found")


@pytest.mark.parametrize(("kind", "size"), [(0x1, 8), (0x81, 12), (0x4D, 20)])
def test_handles_of_ext4_xfs_and_btrfs_hold_the_inode_first(kind, size):
    assert inode_of(_handle(4711, kind, size)) == 4711
