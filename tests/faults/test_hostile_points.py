"""A point whose entries are nonsense, sealed with the real key: verify and restore say so and do nothing else.

Only who holds the machine's key can make one, or a defect of ours; the machine that restores must not pay for it.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from shared.vault.entry import Entry, EntryKind
from shared.vault.layout import PointName, point_name
from shared.vault.manifest import Manifest, encode_manifest
from shared.vault.pages import encode_page
from shared.vault.point import PackRef, PageRef
from shared.vault.writer import PointWriter
from tests.faults.hostile import outcome
from tests.faults.invariants import threads_left, verified
from tests.support.counts import Tally
from tests.unit.engine.rig import Rig
from tests.unit.vault.bench import body, point_id

MATRIX = "hostile points"
CONTENT = b"the only chunk there is"
POINT = PointName("machine", "item", point_id(1))

NAMES = st.sampled_from(
    [b"", b".", b"..", b"/", b"/etc/x", b"../out", b"a", b"a/b", b"a/../../x", b"a//b", b"a/b/", b"a\0b", b"b" * 300]
) | st.binary(max_size=9)
I64 = st.integers(-2, 4096) | st.sampled_from([2**31, 2**62, 2**63 - 1, -(2**63)])
SMALL = st.integers(0, 255)
BYTES = st.binary(max_size=9) | NAMES


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    """An entry that fits its columns and nothing else."""
    chunk = Rig().keys.chunk_id(CONTENT)
    chunks = draw(st.sampled_from([b"", chunk, chunk * 3, bytes(32), chunk + bytes(32)]))
    return Entry(
        path=draw(NAMES),
        kind=draw(st.integers(0, 9)),
        mode=draw(st.integers(0, 2**16 - 1)),
        uid=draw(st.sampled_from([0, 1000, 2**32 - 1])),
        gid=draw(st.sampled_from([0, 1000, 2**32 - 1])),
        size=draw(st.just(len(CONTENT) * (len(chunks) // 32)) | I64),
        mtime_ns=draw(I64),
        ctime_ns=draw(I64),
        device=0,
        inode=0,
        chunks=chunks,
        target=draw(st.just(b"") | BYTES),
        rdev=draw(st.just(0) | st.integers(0, 2**64 - 1)),
        link=draw(st.just(b"") | NAMES),
        xattrs=draw(st.just(()) | st.tuples(st.tuples(BYTES | st.just(b"user.a"), BYTES))),
        holes=draw(st.just(()) | st.tuples(st.tuples(I64, I64)) | st.tuples(st.tuples(I64, I64), st.tuples(I64, I64))),
    )


def node(path: bytes, kind: EntryKind, link: bytes = b"") -> Entry:
    return Entry(path, kind, 0o700, os.geteuid(), os.getegid(), 0, 1, 1, 0, 0, link=link)


def hostile_rig(listed: list[Entry]) -> Rig:
    """A vault with one point that has these entries on one page."""
    rig = Rig()
    page = encode_page(listed)
    writer = PointWriter(
        rig.vault, rig.keys, rig.index(), machine_id="machine", item_id="item", point_id=POINT.point_id
    )
    ids = [rig.keys.chunk_id(data) for data in (CONTENT, page)]
    writer.reserve(ids)
    writer.add_segment(ids, [CONTENT, page])
    writer.checkpoint()
    writer.abort()
    packs = tuple(PackRef(info.name, info.size) for info in rig.store.list("packs/"))
    pages = (PageRef(listed[0].path, ids[1], len(listed)),)
    manifest = Manifest(body=body(files=len(listed)), pages=pages, packs=packs)
    data = encode_manifest(manifest, vault_id=rig.vault.id, point=POINT, slots=(), keys=rig.keys)
    rig.store.put(point_name(POINT), [data])
    return rig


def tried(place: str, listed: list[Entry]) -> None:
    """Verify and restore the point; nothing but the target may change."""
    os.makedirs(f"{place}/around/target")
    try:
        rig = hostile_rig(listed)
        verified(rig)
        outcome(lambda: rig.restore(f"{place}/around/target"), "target-invalid")
        assert (os.listdir(f"{place}/around"), threads_left()) == (["target"], [])
    finally:
        shutil.rmtree(f"{place}/around")


def names_a_directory(listed: list[Entry]) -> bool:
    directories = {entry.path for entry in listed if entry.kind == EntryKind.DIRECTORY}
    return any(entry.link in directories for entry in listed if entry.link)


@settings(max_examples=300, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(entries(), min_size=1, max_size=4))
def test_nonsense_is_told_and_changes_nothing_outside_of_the_target(
    place: str, tally: Tally, listed: list[Entry]
) -> None:
    assume(not names_a_directory(listed))  # see below
    tally.add("points tried")
    tried(place, listed)


def test_a_further_name_of_a_directory_is_told(place: str) -> None:
    tried(place, [node(b"a", EntryKind.DIRECTORY), node(b"b", EntryKind.FILE, link=b"a")])


def test_a_directory_whose_name_the_target_cannot_hold_costs_only_what_is_below_it(tmp_path: Path) -> None:
    long = b"d" * 300  # as some file systems have them, and the target does not
    rig = hostile_rig([node(b"a", EntryKind.FILE), node(long, EntryKind.DIRECTORY), node(long + b"/b", EntryKind.FILE)])
    rig.restore(tmp_path / "out")
    assert os.listdir(tmp_path / "out") == ["a"]
