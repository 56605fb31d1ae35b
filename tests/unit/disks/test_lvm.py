"""Descriptions of volume groups: the sound ones are read, the others named, none believed."""

from __future__ import annotations

import pytest

from tests.unit.disks.lvm_images import group, linear, member, volume
from tests.unit.disks.memory import Memory
from workers.disks.layout import areas_of
from workers.disks.lvm import LogicalVolume, logical_volumes
from workers.disks.lvm_label import read_member
from workers.disks.lvm_text import parse
from workers.disks.volume import Damaged

KIB4 = 4096
DATA = 512 * 1024


def volumes(*texts: str, damaged: tuple[int, ...] = ()) -> dict[str, LogicalVolume]:
    return {one.name: one for one in logical_volumes([read_member(member(*texts, damaged=damaged))])}


def test_segments_are_put_together_in_their_order() -> None:
    disk = member(group(volume("lv", linear(2, 1, 0), linear(0, 2, 7))))
    for extent, byte in ((7, b"a"), (8, b"b"), (0, b"c")):
        disk.data[DATA + extent * KIB4 : DATA + (extent + 1) * KIB4] = byte * KIB4  # type: ignore[index]
    found = logical_volumes([read_member(disk)])[0].volume
    assert found is not None
    assert (found.size, found.read(0, 99999)) == (3 * KIB4, b"a" * KIB4 + b"b" * KIB4 + b"c" * KIB4)
    assert found.where(KIB4 - 1, KIB4 + 2) == [(0, DATA + 8 * KIB4 - 1, KIB4 + 1), (0, DATA, 1)]


@pytest.mark.parametrize("kind", ["raid1", "thin", "cache", "mirror", "vdo-pool"])
def test_other_kinds_are_named(kind: str) -> None:
    found = volumes(group(volume("lv", linear(0, 1, 0, kind))))["vg0-lv"]
    assert (found.volume, found.trouble) == (None, f"a logical volume of the type {kind}")


def test_hidden_volumes_are_not_shown_and_snapshots_are_named() -> None:
    snapshot = 'start_extent = 0 extent_count = 1 type = "snapshot" origin = "lv" cow_store = "snap"'
    text = (
        volume("lv", linear(0, 1, 0))
        + volume("snap", linear(0, 1, 1))
        + volume("hidden", linear(0, 1, 2), visible=False)
    )
    found = volumes(group(text + volume("snapshot0", snapshot, visible=False)))
    assert {name: one.trouble for name, one in found.items()} == {"vg0-lv": "", "vg0-snap": "a snapshot of LVM"}


@pytest.mark.parametrize(
    "segments",
    [
        [linear(1, 1, 0)],  # a hole at the beginning
        [linear(0, 2, 0), linear(1, 2, 5)],  # they overlap
        [linear(0, 0, 0)],
        [linear(0, 1, 0).replace('["pv0", 0]', '["pv9", 0]')],
        [linear(0, 1, 0).replace('["pv0", 0]', '["pv0", -4]')],
        [linear(0, 1, 0).replace('["pv0", 0]', '["pv0"]')],
        [linear(0, 1, 0).replace('["pv0", 0]', "5")],
        [linear(0, 1, 0).replace("extent_count = 1", 'extent_count = "many"')],
        [],
    ],
)
def test_volumes_that_make_no_sense_are_named(segments: list[str]) -> None:
    found = volumes(group(volume("lv", *segments) + volume("good", linear(0, 1, 0))))
    assert (found["vg0-lv"].volume, bool(found["vg0-lv"].trouble), found["vg0-good"].trouble) == (None, True, "")


def test_a_volume_beyond_the_end_of_its_disk_is_damage_when_it_is_read() -> None:
    found = volumes(group(volume("lv", linear(0, 1, 100_000))))["vg0-lv"].volume
    assert found is not None
    with pytest.raises(Damaged):
        found.read(0, 10)


def test_the_newest_sound_description_counts() -> None:
    old, new = group(volume("old", linear(0, 1, 0)), sequence=1), group(volume("new", linear(0, 1, 0)), sequence=2)
    seen = [list(volumes(*texts, damaged=damaged)) for texts, damaged in (
        ((old, new), ()), ((new, old), ()), ((old, new), (1,)), ((old, new), (0,)),
    )]  # fmt: skip
    assert seen == [["vg0-new"], ["vg0-new"], ["vg0-old"], ["vg0-new"]]


def test_a_description_that_goes_round_the_end_of_its_area_is_read() -> None:
    found = logical_volumes([read_member(member(group(volume("lv", linear(0, 1, 0))), start=65536 - 100))])
    assert [(one.name, one.trouble) for one in found] == [("vg0-lv", "")]


def test_without_a_sound_description_the_member_says_so() -> None:
    areas = areas_of([member(group(""), damaged=(0,))])
    assert [(area.name, "damaged in all its copies" in area.format.trouble) for area in areas] == [("fs", True)]


@pytest.mark.parametrize(
    "text",
    ["vg {", "vg { a = }", "a b", "x = [1, 2", "x { " * 100 + "}" * 100, '"', "}", "a = = 1", "vg { a = 1 } }"],
)
def test_text_that_is_none_of_lvm_is_damage(text: str) -> None:
    with pytest.raises(Damaged):
        parse(text)


def test_values_of_a_description() -> None:
    text = 'a = 5 # five\nb = "q\\"uote" c = ["x", 2, ""] d { e = -1 f { } }'
    assert parse(text) == {"a": 5, "b": 'q"uote', "c": ["x", 2, ""], "d": {"e": -1, "f": {}}}


def test_a_disk_without_anything_is_empty() -> None:
    assert [(area.name, area.format.name) for area in areas_of([Memory(bytes(1 << 20)), Memory(b"")])] == [
        ("fs", "empty"), ("fs", "empty"),
    ]  # fmt: skip
