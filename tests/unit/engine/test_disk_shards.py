"""Disks in shards: whoever reads which piece, the point is the one that one worker would have made."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.clock import SystemClock
from shared.contracts.work import BackupDone, Fence, Progress
from shared.errors import SkyharborError
from shared.model.backup import BackupType
from shared.vault.entry import Entry
from shared.vault.point import PointPart
from tests.support.held import doors_to
from tests.support.uncontrolled import Uncontrolled
from tests.support.wing import Wing
from tests.unit.engine.rig import Recorder, Rig
from tests.unit.engine.test_blocks import BLOCK, Disk, DiskSource, DiskStat, OpenedDisk, filled
from workers.engine import disk_lead
from workers.engine.backup import BackupOptions, run_backup
from workers.engine.disk_lead import DiskLead
from workers.engine.ports import Control, Found
from workers.engine.reading import RANGE
from workers.engine.sharding import Sharding
from workers.engine.span import EVERYTHING, Span
from workers.engine.stretch import Stretch, ToRead, cut

SMALL = Sharding(entries=8)


class Disks(DiskSource):
    """Several disks; ``read`` counts what is read of all."""

    def __init__(self, disks: Sequence[Disk]) -> None:
        super().__init__(disks[0])
        self.disks = {b"disk%d.raw" % number: disk for number, disk in enumerate(disks)}
        self.reads: list[tuple[bytes, int, int]] = []

    def scan(self, span: Span = EVERYTHING) -> Iterator[Found]:
        there = [path for path in sorted(self.disks) if span.holds(path)]
        yield Found(there, [DiskStat(self.disks[path].size, self.disks[path].moment) for path in there])

    def open(self, entry: Entry) -> OpenedDisk:
        source = DiskSource(self.disks[entry.path])
        reads = self.reads

        class Opened(OpenedDisk):
            def read_into(self, buffer: memoryview, offset: int) -> int:
                reads.append((entry.path, offset, offset + len(buffer)))
                return super().read_into(buffer, offset)

        return Opened(source, entry)


class Machine:
    """Disks and the vault that they are backed up to, by one worker or by many."""

    def __init__(self, disks: Sequence[Disk]) -> None:
        self.rig = Rig()
        self.disks = disks

    def backup(
        self,
        wing: Wing | None = None,
        *,
        type: BackupType = BackupType.INCREMENTAL,
        control: Control | None = None,
        sharding: Sharding = SMALL,
    ) -> BackupDone:
        rig, options = self.rig, BackupOptions(sharding=sharding)
        instruction, fence = rig.instruction("/", type=type), Fence(job_id="job", unit=0, epoch=1, claim_id="claim")
        self.lead, self.helper = Disks(self.disks), Disks(self.disks)
        if wing is not None:
            wing.join(instruction, fence, lambda: replace(rig.gear("/", options=options), source=self.helper), rig.keys)
        return run_backup(
            doors=doors_to(self.lead, ("/",)),
            vault=rig.vault,
            keys=rig.keys,
            index=rig.index(),
            instruction=instruction,
            fence=fence,
            control=control or Uncontrolled(),
            clock=SystemClock(),
            options=options,
            formation=wing,
        )

    def entries(self) -> list[Entry]:
        return list(self.rig.reader().entries())


def counted(done: BackupDone) -> tuple[int, ...]:
    """What a backup says of its source: the same for all who made it together."""
    told = done.stats
    return (
        told.files,
        told.files_new,
        told.files_changed,
        told.files_unchanged,
        told.bytes_scanned,
        told.bytes_read,
        told.warnings,
    )


@pytest.fixture
def rng() -> random.Random:
    return random.Random(5)


def change(disks: Sequence[Disk], rng: random.Random, *, writes: int) -> None:
    """Say that a point was made, and write."""
    for disk in disks:
        disk.mark()
    for _ in range(writes):
        disk = rng.choice(disks)
        number = rng.randrange(disk.size // BLOCK)
        disk.write(number, None if rng.random() < 0.3 else rng.randbytes(BLOCK))


@pytest.mark.parametrize("helped", [lambda _: True, lambda _: False, lambda unit: unit % 2 == 0])
def test_one_disk_is_read_by_several_and_the_point_is_that_of_one(rng: random.Random, helped: object) -> None:
    disks = [filled(rng, blocks=500, of=700)]
    alone, shared = Machine(disks), Machine(disks)
    for round in range(3):
        wing = Wing(helpers=2, helped=helped)  # type: ignore[arg-type]
        assert counted(shared.backup(wing)) == counted(alone.backup())
        assert shared.entries() == alone.entries(), round
        assert len(wing.offered) == len(wing.flown_by_lead) + len(wing.flown_by_helpers) > 3
        change(disks, rng, writes=300)


def some_disks(rng: random.Random) -> list[Disk]:
    disks = [Disk(rng.randrange(1, 60) * BLOCK + rng.choice([0, 1, 700])) for _ in range(rng.randrange(1, 5))]
    for disk in disks:
        full = rng.random()
        for number in range(disk.size // BLOCK):
            if rng.random() < full:
                disk.write(number, rng.randbytes(BLOCK) if rng.random() < 0.8 else b"same" * (BLOCK // 4))
    return disks


def anywhere(files: Sequence[ToRead], block: int, rng: random.Random) -> list[list[Stretch]]:
    """Cut every file at any blocks, and spread the pieces over any number of parts, in order."""
    made: list[list[Stretch]] = [[]]
    for file in files:
        inside = range(block, file.size, block)
        places = rng.sample(inside, rng.randrange(min(5, len(inside) + 1)))
        for begin, end in pairwise([0, *sorted(places), file.size]):
            if made[-1] and (made[-1][-1].path == file.path or rng.random() < 0.5):
                made.append([])
            made[-1].append(Stretch(file.path, begin, end, file.changed))
    return made


@pytest.mark.parametrize("seed", range(30))
def test_wherever_disks_are_cut_the_point_is_that_of_one_worker(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(seed)
    disks = some_disks(rng)
    alone, shared = Machine(disks), Machine(disks)
    monkeypatch.setattr(disk_lead, "cut", lambda files, *, parts, block: anywhere(files, block, rng))  # noqa: ARG005
    for _ in range(3):
        wing = Wing(helpers=2, helped=lambda unit: unit % 3 != 0)
        assert counted(shared.backup(wing, sharding=Sharding(entries=0))) == counted(alone.backup())
        assert shared.entries() == alone.entries()
        change(disks, rng, writes=rng.randrange(40))


def test_only_what_can_have_changed_is_read_and_shared_out(rng: random.Random) -> None:
    machine = Machine([filled(rng, blocks=4000, of=4000), filled(rng, blocks=1000, of=1000)])
    machine.backup()
    for disk in machine.disks:
        disk.mark()
    written = rng.sample(range(1000, 2000), 600)
    for number in written:
        machine.disks[0].write(number, rng.randbytes(BLOCK))
    wing = Wing(helpers=1)
    done = machine.backup(wing)
    read = [*machine.lead.reads, *machine.helper.reads]
    assert {path for path, _, _ in read} == {b"disk0.raw"}
    assert sum(end - begin for _, begin, end in read) == done.stats.bytes_read == 600 * BLOCK
    assert len(wing.flown_by_helpers) > 2
    shares = [sum(end - begin for _, begin, end in reads) for reads in (machine.lead.reads, machine.helper.reads)]
    assert all(share > 0 for share in shares)


def test_a_terabyte_with_little_to_read_is_not_shared_out(rng: random.Random) -> None:
    machine = Machine([filled(rng, blocks=4000, of=4000)])
    machine.backup()
    change(machine.disks, rng, writes=10)
    wing = Wing(helpers=3)
    machine.backup(wing, sharding=Sharding(entries=100))
    assert wing.offered == []


def test_a_disk_with_little_to_read_beside_a_large_one_is_the_leads(rng: random.Random) -> None:
    machine = Machine([filled(rng, blocks=8000, of=8000), filled(rng, blocks=20, of=8000)])
    wing = Wing(helpers=3)
    machine.backup(wing, sharding=Sharding(entries=400))
    assert wing.flown_by_helpers
    assert {path for path, _, _ in machine.helper.reads} == {b"disk0.raw"}
    assert sum(end - begin for path, begin, end in machine.lead.reads if path == b"disk1.raw") == 20 * BLOCK


def test_what_shards_have_sent_and_read_is_counted_once(rng: random.Random) -> None:
    disks = [filled(rng, blocks=2000, of=2000)]
    alone, shared = Machine(disks), Machine(disks)
    lead = Recorder()
    one, other = alone.backup(), shared.backup(Wing(helpers=2), control=lead)
    stored = sum(info.size for info in shared.rig.store.list("packs/"))
    told = sum(info.size for info in shared.rig.store.list("") if not info.name.startswith("vault"))
    assert stored < other.stats.bytes_transferred <= told
    assert other.stats.bytes_read == one.stats.bytes_read == 2000 * BLOCK
    assert 0 <= other.stats.chunks_new - one.stats.chunks_new < 40  # pages that say what parts have read
    # The lead's own part says how much there is, and never claims what others have read.
    assert {position.bytes_total for position in lead.positions} == {2000 * BLOCK}
    assert max(position.bytes_done for position in lead.positions) < 2000 * BLOCK // 4
    assert lead.positions[-1] == Progress(
        phase="sealing",
        files_done=1,
        bytes_done=lead.positions[-1].bytes_done,
        bytes_total=2000 * BLOCK,
        bytes_transferred=lead.positions[-1].bytes_transferred,
    )


def test_blocks_that_the_vault_has_lost_are_read_again_by_all(rng: random.Random) -> None:
    machine = Machine([filled(rng, blocks=600, of=700)])
    machine.backup()
    for name in [listed.name for listed in machine.rig.store.list("packs/d/")]:
        machine.rig.store.delete(name)
    change(machine.disks, rng, writes=300)
    wing = Wing(helpers=2)
    done = machine.backup(wing)
    assert wing.flown_by_helpers
    assert done.stats.bytes_read == len(machine.disks[0].blocks) * BLOCK


def test_a_disk_that_does_not_look_the_same_to_a_helper_makes_no_point(rng: random.Random) -> None:
    disks = [filled(rng, blocks=600, of=700)]
    machine, wing = Machine(disks), Wing(helpers=2)
    fly = wing._fly

    def touched(unit: int) -> None:
        machine.helper.disks = {path: replaced(disk) for path, disk in machine.lead.disks.items()}
        fly(unit)

    def replaced(disk: Disk) -> Disk:
        other = Disk(disk.size)
        other.blocks, other.moment = disk.blocks, disk.moment + 1
        return other

    wing._fly = touched  # type: ignore[method-assign]
    with pytest.raises(SkyharborError) as error:
        machine.backup(wing)
    assert (error.value.code, machine.rig.points()) == ("source-failed", [])


def test_what_was_written_down_by_a_helper_that_died_is_not_stored_again(rng: random.Random) -> None:
    disks = [filled(rng, blocks=600, of=600)]
    machine, wing = Machine(disks), Wing(helpers=1, helped=lambda _: False)
    take, stored = wing.take, []

    def taken() -> object:
        """Before the lead takes its first shard, somebody else has flown all of it and could not tell."""
        leg = take()
        if leg is not None and not stored:
            wing._fly(leg.unit)
            wing._results.pop(leg.unit)
            wing.flown_by_helpers.clear()
            stored.append(len(list(machine.rig.store.list("packs/d/"))))
        return leg

    wing.take = taken  # type: ignore[method-assign, assignment]
    done = machine.backup(wing)
    assert done.stats.chunks_new < 600 - 600 // len(wing.offered) + 40


# ── where the cuts are ───────────────────────────────────────────────────────────────────────────────


def apart(pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return whole blocks in order, from gaps and lengths."""
    found, at = [], 0
    for gap, length in pairs:
        found.append(((at + gap) * BLOCK, length * BLOCK))
        at += gap + length
    return found


FILES = st.lists(
    st.lists(st.tuples(st.integers(1, 50), st.integers(1, 60)), max_size=8).map(apart), min_size=1, max_size=5
)


@given(FILES, st.integers(1, 12))
def test_stretches_are_all_of_every_file_in_parts_of_about_the_same_size(
    shapes: list[list[tuple[int, int]]], parts: int
) -> None:
    files = [
        ToRead(b"disk%d" % number, sum(ranges[-1]) + 100 if ranges else 100, ranges, False)
        for number, ranges in enumerate(shapes)
    ]
    total = sum(file.bytes for file in files)
    share = -(-total // parts)
    made = cut(files, parts=parts, block=BLOCK)
    assert len(made) <= parts
    for file in files:
        mine = [one for stretches in made for one in stretches if one.path == file.path]
        borders = [(one.begin, one.end) for one in mine]
        assert borders == [] if not file.bytes else borders[0][0] == 0 and borders[-1][1] == file.size
        assert all(one[1] == other[0] for one, other in pairwise(borders))
        assert all(begin < end and begin % BLOCK == 0 for begin, end in borders)
        if file.bytes < share // 4:
            assert len(mine) <= 1
    by_path = {file.path: file for file in files}

    def to_read(one: Stretch) -> int:
        ranges = by_path[one.path].ranges
        return sum(max(0, min(sum(r), one.end) - max(r[0], one.begin)) for r in ranges)

    loads = [sum(map(to_read, stretches)) for stretches in made]
    assert sum(loads) == total
    assert all(load < share + share // 4 + BLOCK for load in loads)
    assert all(to_read(one) for stretches in made for one in stretches)


def test_a_small_file_is_not_cut_where_a_part_would_be_full() -> None:
    sizes = {b"a": 30, b"b": 4, b"c": 30}
    files = [ToRead(path, size * BLOCK, [(0, size * BLOCK)], True) for path, size in sizes.items()]
    assert cut(files, parts=2, block=BLOCK) == [
        [Stretch(b"a", 0, 30 * BLOCK, True), Stretch(b"b", 0, 4 * BLOCK, True)],
        [Stretch(b"c", 0, 30 * BLOCK, True)],
    ]


def test_two_terabytes_on_one_disk_are_work_for_all() -> None:
    size = 2 << 40
    made = cut([ToRead(b"disk0.raw", size, [(0, size)], False)], parts=64, block=256 * 1024)
    assert [(one.begin, one.end) for [one] in made] == [(n * (size >> 6), (n + 1) * (size >> 6)) for n in range(64)]
    assert made[0][0].end % RANGE == 0


def test_a_part_that_does_not_say_all_that_it_should_have_read_makes_no_point(
    rng: random.Random, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What nobody speaks of would be a hole in the disk."""
    machine = Machine([filled(rng, blocks=600, of=700)])
    entries = DiskLead._entries
    monkeypatch.setattr(DiskLead, "_entries", lambda self, part: entries(self, part)[:-1])
    with pytest.raises(SkyharborError, match="does not say all") as error:
        machine.backup(Wing(helpers=2))
    assert (error.value.code, machine.rig.points()) == ("source-failed", [])


def test_a_part_that_was_read_where_others_read_makes_no_point(
    rng: random.Random, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine([filled(rng, blocks=600, of=700)])
    entries = DiskLead._entries

    def whole(self: DiskLead, part: PointPart) -> list[Entry]:
        found = entries(self, part)
        for entry in found:
            entry.holes = ()
        return found

    monkeypatch.setattr(DiskLead, "_entries", whole)
    with pytest.raises(SkyharborError, match="where others read it"):
        machine.backup(Wing(helpers=2))
    assert machine.rig.points() == []
