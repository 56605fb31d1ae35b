"""The exam of the crews: whoever reads or writes, in threads or in processes, a unit's result is the same."""

import os
import random
import threading
from pathlib import Path

import pytest

from shared.contracts.sources import FilesSource
from shared.errors import SkyharborError
from shared.model.backup import ConflictRule
from shared.vault.entry import EntryKind
from tests.support.compare import differences
from tests.support.crews import KINDS, Bench, left, running_chief, scanned
from tests.support.small_disk import NoDisk, small_disk
from tests.support.trees import Node, nasty, plant, settle
from tests.unit.engine.rig import Recorder, Rig
from workers.engine.ports import Stop
from workers.engine.reading import LARGE_FILE, RANGE

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def chief():
    with running_chief() as chief:
        yield chief


@pytest.fixture(params=KINDS)
def bench(request, tmp_path, chief):
    return Bench(tmp_path / "vault", request.param, chief)


@pytest.fixture
def place(tmp_path_factory):
    """A folder beside the vault: what happens to the vault must not show in the source."""
    return tmp_path_factory.mktemp("source")


def noise(size, seed=0):
    return random.Random(seed).randbytes(size)


def small_files(count, size=700):
    return [Node(b"%05d" % number, data=noise(size + number % 50, number)) for number in range(count)]


def entries_of(rig, tree):
    """The entries of a tree; those of the folders above it change with whoever else uses these."""
    return [entry for entry in rig.reader().entries() if entry.path.startswith(os.fsencode(tree)[1:])]


def codes(done, tree):
    return sorted((os.path.relpath(notice.path, tree), notice.code) for notice in done.warnings)


def content(path):
    with open(path, "rb") as file:
        return file.read()


# ── reading ──────────────────────────────────────────────────────────────────────────────────────────


def test_the_entries_of_a_point_do_not_depend_on_who_reads(bench, place):
    tree = plant(place, [*nasty(), Node(b"many", "dir", mode=0o755), *prefixed(b"many/", small_files(1500))])
    settle(tree)
    plain = Rig()
    expected = plain.backup(tree)
    done = bench.backup(tree)
    assert bench.crews[0].calls.count("read") > 3
    assert entries_of(bench.rig, tree) == entries_of(plain, tree)
    assert (done.warnings, counted(done)) == (expected.warnings, counted(expected))


def prefixed(prefix, nodes):
    return [Node(prefix + node.path, data=node.data) for node in nodes]


def counted(done):
    stats = done.stats
    return stats.files, stats.files_new, stats.bytes_scanned, stats.bytes_read, stats.chunks_new, stats.chunks_reused


def test_a_second_point_reads_what_changed_and_nothing_else(bench, place):
    tree = plant(place, small_files(1200))
    settle(tree)
    bench.backup(tree)
    for name in ("00003", "00700", "01199"):
        Path(tree, name).write_bytes(b"changed " + name.encode())
    os.unlink(f"{tree}/00500")
    settle(tree)
    done = bench.backup(tree)
    stats = done.stats
    assert (stats.files_changed, stats.files_removed, stats.bytes_read) == (3, 1, 3 * len("changed 00003"))
    bench.restore(place.parent / "second-out")
    assert differences(tree, f"{place.parent}/second-out{tree}", ignore=["holes"]) == []


def test_a_call_answers_in_the_order_asked_with_none_for_what_is_lost(bench, place):
    tree = plant(
        place, [Node(b"empty"), *small_files(40), Node(b"large", data=noise(3 * MIB)), Node(b"gone", data=b"g")]
    )
    entries = [entry for entry in scanned(tree) if entry.kind == EntryKind.FILE]
    random.Random(1).shuffle(entries)
    os.unlink(f"{tree}/gone")
    writer = bench.writer()
    crew = bench.readers(files_of(tree))(writer)
    result = crew.read(list(entries)).result()
    crew.close()
    writer.abort()
    gone = [place for place, entry in enumerate(entries) if entry.path.endswith(b"/gone")]
    assert [place for place, entry in enumerate(result.entries) if entry is None] == gone
    assert [entry.path for entry in result.entries if entry] == [e.path for e in entries if e.path[-5:] != b"/gone"]
    assert [len(entry.chunks) > 0 for entry in result.entries if entry] == [
        e.size > 0 for e in entries if e.path[-5:] != b"/gone"
    ]
    assert (len(result.notices), result.bytes_read) == (1, sum(e.size for e in entries) - 1)


def files_of(tree):
    return FilesSource(paths=(tree,), excludes=())


def test_what_is_gone_or_unreadable_or_something_else_by_now_is_a_notice_and_the_rest_is_there(bench, place):
    tree = plant(place, [Node(b"fifo", data=b"f"), Node(b"gone", data=b"g"), Node(b"here", data=b"h")])
    unreadable = f"/proc/{os.getpid()}/mem"  # for anybody, root included: nothing is mapped at its beginning

    def meanwhile():
        os.unlink(f"{tree}/gone")
        os.unlink(f"{tree}/fifo")
        os.mkfifo(f"{tree}/fifo")

    done = bench.backup(tree, unreadable, after_scan=meanwhile)
    assert codes(done, tree) == [
        (os.path.relpath(unreadable, tree), "unreadable"),
        ("fifo", "vanished"),
        ("gone", "vanished"),
    ]
    bench.restore(place.parent / "notices-out")
    assert os.listdir(f"{place.parent}/notices-out{tree}") == ["here"]


@pytest.mark.parametrize("size", [0, 9, LARGE_FILE + 9], ids=["empty", "small", "large"])
def test_a_file_replaced_between_scan_and_read_is_taken_as_it_is_now(bench, place, size):
    tree = plant(place, [Node(b"f", data=b"old")])

    def replace():
        Path(tree, "new").write_bytes(noise(size))
        os.setxattr(f"{tree}/new", "user.new", b"yes")
        os.rename(f"{tree}/new", f"{tree}/f")

    assert bench.backup(tree, after_scan=replace).warnings == ()
    bench.restore(place.parent / "replaced-out")
    out = f"{place.parent}/replaced-out{tree}/f"
    assert (content(out), os.getxattr(out, "user.new")) == (noise(size), b"yes")


def test_a_folder_swapped_for_a_symlink_lets_no_other_file_into_the_point(bench, place):
    secret = plant(place / "secret", [Node(b"f", data=b"top secret")])
    tree = plant(place / "tree", [Node(b"d", "dir", mode=0o755), Node(b"d/f", data=b"mine and mine")])

    def swap():
        os.rename(f"{tree}/d", f"{tree}/was-d")
        os.symlink(secret, f"{tree}/d")

    done = bench.backup(tree, after_scan=swap)
    reader = bench.rig.reader()
    found = b"".join(bytes(chunk) for entry in reader.entries() for chunk in reader.read_chunks(entry.chunks))
    assert ("d/f" in dict(codes(done, tree)), b"top secret" in found) == (True, False)


SPARSE = 3 * RANGE + 12_345
PIECES = (
    (0, noise(MIB + 500_000, 1)),
    (RANGE - 700_000, noise(1_400_000, 2)),  # across a border
    (2 * RANGE + 5 * MIB, noise(600_000, 3)),
)


def test_a_very_large_file_is_read_in_ranges_and_comes_back_with_its_holes(bench, place):
    tree = plant(
        place, [Node(b"a", data=b"before"), Node(b"disk", size=SPARSE, pieces=PIECES), Node(b"z", data=b"after")]
    )
    settle(tree)
    done = bench.backup(tree)
    assert bench.crews[0].calls.count("read_range") == 3
    assert (done.warnings, done.stats.bytes_read < 5 * MIB) == ((), True)
    assert bench.backup(tree).stats.bytes_read == 0
    bench.restore(place.parent / "large-out")
    assert differences(tree, f"{place.parent}/large-out{tree}") == []


def test_a_very_large_file_of_nothing_but_hole_costs_nothing(bench, place):
    tree = plant(place, [Node(b"disk", size=SPARSE)])
    done = bench.backup(tree)
    assert (done.warnings, done.stats.bytes_read) == ((), 0)
    bench.restore(place.parent / "hole-out")
    assert differences(tree, f"{place.parent}/hole-out{tree}") == []


def test_a_very_large_file_that_changes_between_two_ranges_is_read_once_more_as_a_whole(bench, place):
    tree = plant(place, [Node(b"disk", size=SPARSE, pieces=PIECES)])

    def change(number):
        if number == 1:
            with open(f"{tree}/disk", "r+b") as file:
                file.seek(RANGE + 1000)
                file.write(b"meanwhile")

    done = bench.backup(tree, on_reserve=change)
    assert (done.warnings, bench.crews[0].calls.count("read")) == ((), 2)  # the folders above, and the file
    bench.restore(place.parent / "changed-out")
    assert differences(tree, f"{place.parent}/changed-out{tree}") == []


def test_a_very_large_file_that_keeps_changing_is_kept_as_read_with_a_notice(bench, place):
    tree = plant(place, [Node(b"disk", size=SPARSE, pieces=PIECES)])

    def change(_):
        with open(f"{tree}/disk", "ab") as file:
            file.write(b"+")

    done = bench.backup(tree, on_reserve=change)
    assert codes(done, tree) == [("disk", "changed-while-read")]
    assert bench.restore(place.parent / "changing-out").warnings == ()


def test_a_very_large_file_that_is_gone_or_cut_short_when_its_ranges_are_read_is_told_as_it_is(bench, place):
    tree = plant(place, [Node(b"cut", size=SPARSE, pieces=PIECES), Node(b"gone", size=SPARSE, pieces=PIECES)])

    def meanwhile(number):
        if number == 1:
            os.truncate(f"{tree}/cut", RANGE // 2)
            os.unlink(f"{tree}/gone")

    done = bench.backup(tree, on_reserve=meanwhile)
    assert [code for path, code in codes(done, tree) if path == "gone"] in ([], ["vanished"])
    bench.restore(place.parent / "cut-out")
    out = Path(f"{place.parent}/cut-out{tree}")
    assert (out / "cut").stat().st_size == RANGE // 2
    assert content(out / "cut") == content(f"{tree}/cut")


def test_flushed_chunks_are_in_the_vault_and_known_to_whoever_loads_its_index(bench, place):
    tree = plant(place, small_files(900))
    writer = bench.writer()
    crew = bench.readers(files_of(tree))(writer)
    files = [entry for entry in scanned(tree) if entry.kind == EntryKind.FILE]
    calls = [crew.read(files[at : at + 200]) for at in range(0, len(files), 200)]
    for flushed in crew.flush():
        flushed.result()
    assert bench.crews[0].calls == ["read"] * 5 + ["flush"]
    ids = b"".join([entry.chunks for call in calls for entry in call.result().entries])
    writer.checkpoint()
    crew.close()
    writer.abort()
    index = bench.rig.index()
    assert (len(ids), index.contains_all(ids), index.drop_missing_packs(bench.rig.vault)) == (900 * 32, True, [])


def test_nothing_that_a_closed_crew_did_not_flush_is_known_to_the_point(bench, place):
    tree = plant(place, small_files(10))
    writer = bench.writer()
    crew = bench.readers(files_of(tree))(writer)
    crew.read([entry for entry in scanned(tree) if entry.kind == EntryKind.FILE]).result()
    crew.stop()
    writer.abort()
    assert [info.name for info in bench.rig.store.list()] == ["vault.json"]


def test_a_chunk_that_many_files_have_is_stored_once_whoever_reads_it_first(bench, place):
    tree = plant(place, [Node(b"%04d" % number, data=noise(2000, number % 3)) for number in range(2000)])
    done = bench.backup(tree)
    assert done.stats.bytes_transferred < 100_000
    bench.restore(place.parent / "twins-out")
    assert differences(tree, f"{place.parent}/twins-out{tree}", ignore=["holes"]) == []


def test_stop_ends_a_read_in_its_middle_and_nothing_is_put_afterwards(bench, place):
    tree = plant(place, small_files(1))
    with open(f"{tree}/large", "wb") as file:
        for _ in range(64):
            file.write(bytes(16 * MIB))
    begun = threading.Event()
    writer = bench.writer()
    crew = bench.readers(files_of(tree), lambda _: begun.set())(writer)
    entries = scanned(tree)
    calls = [crew.read(entries), *(crew.read_range(entries[-1], at * RANGE, RANGE) for at in range(4))]
    assert begun.wait(20)
    crew.stop()
    writer.abort()
    there = list(bench.rig.store.list())
    assert (left(), [t.name for t in threading.enumerate() if t.name.startswith(("read", "hand"))]) == ([], [])
    assert all(call.done() or call.cancelled() for call in calls)
    assert isinstance(calls[0].exception(), Stop | SkyharborError)
    assert list(bench.rig.store.list()) == there


def test_a_crew_that_was_stopped_or_closed_takes_no_calls(bench, place):
    tree = plant(place, small_files(1))
    for end in ("stop", "close"):
        crew = bench.readers(files_of(tree))(bench.writer())
        getattr(crew, end)()
        with pytest.raises(RuntimeError):
            crew.read(scanned(tree))
        with pytest.raises(RuntimeError):
            crew.read_range(scanned(tree)[-1], 0, RANGE)


@pytest.mark.parametrize("ends", [["close", "close"], ["stop", "stop", "close"], ["close", "stop"]])
@pytest.mark.parametrize("used", [False, True])
def test_crews_can_be_ended_more_than_once(bench, place, ends, used):
    tree = plant(place, small_files(3))
    writer = bench.writer()
    reading = bench.readers(files_of(tree))(writer)
    if used:
        reading.read(scanned(tree)).result()
    bench.backup(tree)
    reader = bench.rig.reader()
    (place / "out").mkdir()
    out = (place / "out").stat()
    writing = bench.writers(reader)(reader.finder, str(place / "out"), (out.st_dev, out.st_ino))
    if used:
        writing.write([]).result()
    for end in ends:
        getattr(reading, end)()
        getattr(writing, end)()
    writer.abort()
    assert left() == []


def test_a_writer_that_fails_fails_the_unit_with_its_own_words(bench, place):
    tree = plant(place, small_files(1500))

    def fail(number):
        if number == 2:
            raise SkyharborError("store-full", "no room, says the test")

    with pytest.raises(SkyharborError) as caught:
        bench.backup(tree, on_reserve=fail)
    assert (caught.value.code, caught.value.detail) == ("store-full", "no room, says the test")
    assert (bench.rig.points(), left()) == ([], [])


# ── writing ──────────────────────────────────────────────────────────────────────────────────────────


def test_a_tree_comes_back_the_same_whoever_writes_it(bench, place, tmp_path):
    tree = plant(place, [*nasty(), Node(b"many", "dir", mode=0o755), *prefixed(b"many/", small_files(1500))])
    bench.backup(tree)
    done = bench.restore(tmp_path / "out")
    stats = done.stats
    assert (done.warnings, differences(tree, f"{tmp_path}/out{tree}", ignore=["holes"])) == ((), [])
    assert stats.bytes_read > 1_000_000
    if bench.crews[1:]:
        assert bench.crews[1].calls.count("write") > 3


@pytest.mark.parametrize(
    ("rule", "names", "first", "skipped"),
    [
        (ConflictRule.SKIP, ["0", "1"], b"in the way", 1),
        (ConflictRule.OVERWRITE, ["0", "1"], b"zero", 0),
        (ConflictRule.RENAME, ["0", "0.restored-1", "1"], b"in the way", 0),
    ],
)
def test_a_file_in_the_way_is_treated_by_the_rule(bench, place, tmp_path, rule, names, first, skipped):
    tree = plant(place, [Node(b"0", data=b"zero"), Node(b"1", data=b"one")])
    bench.backup(tree)
    out = Path(f"{tmp_path}/out{tree}")
    out.mkdir(parents=True)
    (out / "0").write_bytes(b"in the way")
    stats = bench.restore(tmp_path / "out", conflict=rule).stats
    assert (sorted(os.listdir(out)), content(out / "0")) == (names, first)
    assert (stats.files_skipped, stats.files_restored) == (skipped, 2 - skipped)


def test_files_in_a_damaged_pack_are_notices_and_no_half_file_is_left(bench, place, tmp_path):
    tree = plant(place, [Node(b"%03d" % number, data=noise(40_000, number)) for number in range(200)])
    bench.backup(tree)
    store = Path(bench.url.removeprefix("file://"))
    pack = max(store.glob("packs/d/*/*"), key=lambda path: path.stat().st_size)
    data = bytearray(pack.read_bytes())
    data[len(data) // 2] ^= 1
    pack.chmod(0o600)
    pack.write_bytes(data)
    done = bench.restore(tmp_path / "out")
    lost = {os.path.basename(notice.path) for notice in done.warnings}
    assert {notice.code for notice in done.warnings} == {"damaged"}
    there = set(os.listdir(f"{tmp_path}/out{tree}"))
    assert (there | lost, there & lost) == ({f"{number:03}" for number in range(200)}, set())
    assert all(content(f"{tmp_path}/out{tree}/{name}") == content(f"{tree}/{name}") for name in there)


def test_a_stopped_restore_leaves_whole_files_and_nobody_at_work(bench, place, tmp_path):
    tree = plant(place, small_files(3000, size=3000))
    bench.backup(tree)

    class StopWhenSomeAreThere(Recorder):
        def check(self):
            if self.positions and self.positions[-1].files_done:
                raise Stop(self.reason)

    with pytest.raises(Stop):
        bench.restore(tmp_path / "out", control=StopWhenSomeAreThere())
    out = f"{tmp_path}/out{tree}"
    there = os.listdir(out)
    assert (left(), 0 < len(there) < 3000) == ([], True)
    assert all(content(f"{out}/{name}") == content(f"{tree}/{name}") for name in there)
    bench.restore(tmp_path / "out", conflict=ConflictRule.OVERWRITE)
    assert differences(tree, out, ignore=["holes"]) == []


@pytest.fixture
def disk(tmp_path):
    try:
        with small_disk(str(tmp_path / "disk"), 4 * MIB) as disk:
            yield Path(disk.path)
    except NoDisk as problem:
        pytest.skip(f"a small file system needs the right to mount tmpfs: {problem}")


def test_a_full_target_is_said_as_such(bench, place, disk):
    tree = plant(place, [Node(b"%02d" % number, data=noise(400_000, number)) for number in range(20)])
    bench.backup(tree)
    with pytest.raises(SkyharborError) as caught:
        bench.restore(disk)
    assert (caught.value.code, left()) == ("target-full", [])
