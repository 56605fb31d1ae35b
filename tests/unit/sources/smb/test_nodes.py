"""Looks become stats and pairs, and what a share says about links is understood."""

import struct

import pytest

from workers.engine.seen import FIRST_TIME
from workers.sources.smb.marks import keeps_change_times, mark_of
from workers.sources.smb.messages import Look, Row
from workers.sources.smb.nodes import (
    DESCRIPTOR,
    INFO,
    STREAM,
    filetime_of,
    info_of,
    info_pair,
    is_elsewhere,
    is_link,
    link_target,
    ns_of,
    stat_of,
    streams_of,
)
from workers.sources.smb.writing import asking_to_inherit

UNIX = 116_444_736_000_000_000


def _symlink(substitute: str, shown: str, *, tag: int = 0xA000000C) -> bytes:
    """A reparse buffer as [MS-FSCC] 2.1.2.4 and 2.1.2.5 have it."""
    one, other = substitute.encode("utf-16-le"), shown.encode("utf-16-le")
    flags = struct.pack("<I", 1) if tag == 0xA000000C else b""
    body = struct.pack("<HHHH", 0, len(one), len(one), len(other)) + flags + one + other
    return struct.pack("<IHH", tag, len(body), 0) + body


@pytest.mark.parametrize(
    ("data", "target"),
    [
        (_symlink("..\\a\\b", "..\\a\\b"), b"../a/b"),
        (_symlink("\\??\\C:\\x", ""), b"C:/x"),
        (_symlink("\\??\\C:\\data", "C:\\data", tag=0xA0000003), b"C:/data"),
        (_symlink("grüße", "grüße"), "grüße".encode()),
    ],
)
def test_a_link_leads_where_it_says(data, target):
    assert link_target(data) == target


@pytest.mark.parametrize(
    "data",
    [b"", b"short", _symlink("a", "a", tag=0x80000013), _symlink("abcdef", "abcdef")[:-4]],
)
def test_what_is_no_link_is_none(data):
    with pytest.raises(ValueError, match=r"short|no link"):
        link_target(data)


def test_kinds_of_reparse_points_are_told_apart():
    link, junction, cloud, mount = 0xA000000C, 0xA0000003, 0x9000001A, 0xA0000123
    assert [is_link(0x400, tag) for tag in (link, junction, cloud, mount)] == [True, True, False, False]
    assert [is_elsewhere(0x400, tag) for tag in (link, junction, cloud, mount)] == [False, False, False, True]
    assert is_link(0x20, link) is False  # no reparse point: the number means something else


@pytest.mark.parametrize(
    ("filetime", "ns"),
    [(0, 0), (UNIX, 0), (UNIX + 1, 100), (UNIX - 1, -100), (1, FIRST_TIME), (2**63, 2**63 - 1)],
)
def test_times_are_brought_into_what_a_point_can_hold(filetime, ns):
    assert ns_of(filetime) == ns


def test_a_time_goes_there_and_back_and_never_becomes_the_word_for_unknown():
    assert (ns_of(filetime_of(1_700_000_000_123_456_700)), filetime_of(-(2**63)) > 0) == (
        1_700_000_000_123_456_700,
        True,
    )


def test_pairs_say_what_was_there():
    look = Look(created=123, written=UNIX, changed=UNIX, size=5, attributes=0x1 | 0x2 | 0x20 | 0x800)
    xattrs = (info_pair(look), (STREAM + b"a", b"1"), (DESCRIPTOR, b"x"))
    assert info_of(xattrs) == (0x23, 123)  # compression is the server's own matter
    assert streams_of(xattrs) == [(b"a", b"1")]
    assert info_of(((INFO, b"short"),)) == (0, 0)


def test_a_mark_moves_with_everything_but_the_time_of_creation():
    look = Look(created=1, written=UNIX, changed=UNIX, size=5, attributes=0x20)
    pairs = (info_pair(look), (DESCRIPTOR, b"d"), (STREAM + b"s", b"v"))
    mark = mark_of(look, pairs)
    born_later = look._replace(created=2)
    others = [
        mark_of(look._replace(attributes=0x21), pairs),
        mark_of(look._replace(written=UNIX + 1), pairs),
        mark_of(look, (info_pair(look), (DESCRIPTOR, b"e"), (STREAM + b"s", b"v"))),
        mark_of(look, (info_pair(look), (DESCRIPTOR, b"d"), (STREAM + b"s", b"w"))),
        mark_of(look, (info_pair(look), (DESCRIPTOR, b"d"), (STREAM + b"t", b"v"))),
        mark_of(look, (info_pair(look), (DESCRIPTOR, b"d"))),
    ]
    assert mark_of(born_later, (info_pair(born_later), *pairs[1:])) == mark
    assert len({mark, *others}) == 7
    assert 0 < mark < 2**57  # in the seventies: never young


def test_a_server_that_shows_one_change_time_of_its_own_keeps_them():
    same, other = Look(1, 5, 5, 0, 0x20), Look(1, 5, 6, 0, 0x20)
    assert not keeps_change_times([Row(b"a", same, 1, 0)] * 3)
    assert keeps_change_times([Row(b"a", same, 1, 0), Row(b"b", other, 2, 0)])


def test_a_number_that_means_none_is_none():
    look = Look(1, UNIX, UNIX, 7, 0x20)
    assert (stat_of(look, 2**64 - 1).st_ino, stat_of(look, 9).st_ino, stat_of(look, 9).st_size) == (0, 9, 7)


@pytest.mark.parametrize(("control", "asked"), [(0x8004, 0x8004), (0x8404, 0x8504), (0x9404, 0x9504)])
def test_inherited_entries_stay_inherited_because_it_is_asked_for(control, asked):
    raw = b"\1\0" + control.to_bytes(2, "little") + b"rest"
    assert asking_to_inherit(raw) == b"\1\0" + asked.to_bytes(2, "little") + b"rest"
