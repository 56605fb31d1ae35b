"""Points come back as they were written, cost only what is new, and need nothing but themselves."""

from __future__ import annotations

import os
import threading
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import SkyharborError
from shared.storage.memory import MemoryStore
from shared.vault import layout
from shared.vault.chunk_finder import TableFinder
from shared.vault.chunk_reader import ChunkReader
from shared.vault.entry import sort_key
from shared.vault.index import ChunkIndex
from shared.vault.index_segment import table_bytes, table_from
from shared.vault.pages import MAX_ENTRIES, PageBuilder
from shared.vault.segment_source import SegmentSource
from tests.unit.vault.bench import KEYS, MACHINE, Bench, body, file_entry, never_stop, new_bench, point_id

NO_INDEX = None
parts = st.sampled_from([b"a", b"b", b"a!", b"\x01", b"\xff\xfe", b"caf\xc3\xa9"])
paths = st.lists(parts, min_size=1, max_size=3).map(b"/".join)
trees = st.dictionaries(paths, st.binary(max_size=400) | st.integers(0, 5).map(lambda n: bytes([n]) * 350), max_size=12)

TREE = {b"etc/motd": b"hello", b"srv/big": bytes(range(256)) * 40, b"srv/empty": b"", b"srv/small": b"s" * 150}


@settings(deadline=None)
@given(trees)
def test_a_point_gives_back_its_tree_with_the_index_and_without(tree: dict[bytes, bytes]) -> None:
    bench = new_bench()
    bench.write(1, tree)
    assert bench.read(1, index=bench.index()) == tree
    assert bench.read(1, index=NO_INDEX) == tree


@settings(deadline=None)
@given(trees, trees)
def test_points_that_share_chunks_do_not_disturb_each_other(old: dict[bytes, bytes], new: dict[bytes, bytes]) -> None:
    bench = new_bench()
    bench.write(1, old)
    bench.write(2, new)
    assert (bench.read(1), bench.read(2)) == (old, new)


def test_the_same_tree_again_costs_only_a_manifest() -> None:
    bench = new_bench()
    bench.write(1, TREE)
    before = set(bench.names())
    again = bench.write(2, TREE)
    assert set(bench.names()) - before == {again.manifest}
    assert (again.body.stats["bytes_stored"], again.body.stats["chunks_new"]) == (0, 0)


def test_the_counted_bytes_are_the_stored_bytes() -> None:
    bench = new_bench()
    before = sum(bench.sizes().values())
    writer = bench.writer(1)
    bench.fill(writer, TREE)
    sealed = writer.seal(body=body(), validate=never_stop)
    stored = sum(bench.sizes().values()) - before
    assert writer.bytes_transferred == stored
    assert sealed.body.stats["bytes_transferred"] == stored - bench.sizes()[sealed.manifest]


def test_a_point_lists_exactly_the_packs_it_needs() -> None:
    bench = new_bench()
    bench.write(1, {b"a": b"1" * 100, b"b": b"2" * 2000})
    bench.write(2, {b"b": b"2" * 2000})
    needed = {pack.name: pack.size for pack in bench.reader(2).packs}
    stored = bench.sizes(layout.PACKS)
    assert needed.items() <= stored.items()
    for name in stored.keys() - needed.keys():
        bench.store.delete(name)
    assert bench.read(2) == {b"b": b"2" * 2000}
    for name in needed:
        rest = new_bench_from(bench, without=name)
        with pytest.raises(SkyharborError) as caught:
            rest.read(2)
        assert caught.value.code == "object-missing"


def new_bench_from(bench: Bench, *, without: str) -> Bench:
    """A copy of the vault that lacks one object."""
    store = MemoryStore()
    for name in bench.names():
        if name != without:
            store.put(name, [bench.store.get(name)])
    return bench.on(store)


def test_a_point_reads_without_any_index_segment() -> None:
    bench = new_bench()
    bench.write(1, TREE)
    for name in bench.names(layout.INDEX):
        bench.store.delete(name)
    assert bench.read(1, index=bench.index()) == TREE


def test_entries_are_read_from_metadata_packs_alone() -> None:
    bench = new_bench()
    bench.write(1, {b"%02d" % number: b"%d" % number * 90 for number in range(30)})
    for name in bench.names("packs/d/"):
        bench.store.delete(name)
    reader = bench.reader(1, index=NO_INDEX)
    assert [entry.path for entry in reader.entries()] == [b"%02d" % number for number in range(30)]
    assert reader.problems == []


def test_bytes_that_are_not_what_their_id_says_are_not_handed_out() -> None:
    bench = new_bench()
    claimed = KEYS.chunk_id(b"claimed")
    writer = bench.writer(1)
    writer.reserve([claimed])
    writer.add_segment([claimed], [b"another"])
    writer.add_entries([file_entry(b"a", claimed)])
    writer.seal(body=body(), validate=never_stop)
    with pytest.raises(SkyharborError, match="not what its id says"):
        bench.read(1)


@settings(deadline=None)
@given(trees, paths)
def test_under_gives_a_node_and_everything_below_it(tree: dict[bytes, bytes], under: bytes) -> None:
    bench = new_bench()
    bench.write(1, tree)
    expected = [path for path in sorted(tree, key=sort_key) if path == under or path.startswith(under + b"/")]
    assert [entry.path for entry in bench.reader(1).entries(under)] == expected


def test_under_reads_only_the_pages_it_needs() -> None:
    bench = new_bench()
    writer = bench.writer(1, meta_pack=8_000_000)
    for number in range(6000):
        # Attributes that do not compress, so that the pages fill several segments.
        entry = file_entry(b"dir-%03d/file-%03d" % (number // 100, number % 100))
        entry.xattrs = ((b"user.noise", os.urandom(1000)),)
        writer.add_entries([entry])
    writer.seal(body=body(), validate=never_stop)
    reader = bench.reader(1, index=bench.index())
    found = [entry.path for entry in reader.entries(b"dir-031")]
    assert found == [b"dir-031/file-%03d" % number for number in range(100)]
    assert reader.bytes_read < sum(pack.size for pack in reader.packs) / 2


def test_an_inserted_entry_moves_only_its_neighbours() -> None:
    every = [b"file-%05d" % number for number in range(20_000)]
    pages = {page.data for page in paged(every)}
    changed = {page.data for page in paged([*every[:7000], b"file-06999a", *every[7000:]])}
    assert len(pages) > 20
    assert len(changed - pages) <= 2


def paged(names: list[bytes]) -> list:
    builder = PageBuilder()
    pages = [*builder.add([file_entry(name) for name in names]), builder.finish()]
    return [page for page in pages if page]


def test_a_page_never_has_more_than_its_most_entries() -> None:
    nowhere_to_cut = [name for number in range(5000) if zlib.crc32(name := b"%06d" % number) & 255]
    assert {page.entries for page in paged(nowhere_to_cut)[:-1]} == {MAX_ENTRIES}


def test_a_file_with_very_many_chunks_comes_back() -> None:
    bench = new_bench()
    chunk = KEYS.chunk_id(b"x")
    writer = bench.writer(1, data_pack=10_000, meta_pack=10_000)
    assert writer.reserve([chunk]) == [True]
    writer.add_segment([chunk], [b"x"])
    huge = file_entry(b"huge", chunk * 100_000, size=100_000)
    writer.add_entries([huge])
    writer.seal(body=body(), validate=never_stop)
    assert list(bench.reader(1).entries()) == [huge]


def test_entries_out_of_order_are_refused() -> None:
    writer = new_bench().writer(1)
    writer.add_entries([file_entry(b"b")])
    for path in (b"a", b"b"):
        with pytest.raises(ValueError, match="in order"):
            writer.add_entries([file_entry(path)])
    writer.abort()


def test_threads_that_race_for_a_chunk_get_it_once() -> None:
    bench = new_bench()
    writer = bench.writer(1)
    ids = [KEYS.chunk_id(b"%d" % number) for number in range(500)]
    start = threading.Barrier(8)
    answers: list[list[bool]] = []

    def ask() -> None:
        start.wait()
        answers.append([writer.reserve([chunk_id])[0] for chunk_id in ids])

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [sum(column) for column in zip(*answers, strict=True)] == [1] * 500
    writer.abort()


def test_an_id_twice_in_one_reservation_is_owed_once() -> None:
    writer = new_bench().writer(1)
    assert writer.reserve([KEYS.chunk_id(b"x")] * 3) == [True, False, False]
    writer.abort()


def test_many_threads_fill_one_point() -> None:
    bench = new_bench()
    tree = {
        b"%d/%03d" % (thread, number): b"%d-%d" % (thread, number) * 30 for thread in range(6) for number in range(40)
    }
    writer = bench.writer(1)

    def store(thread: int) -> None:
        for path, content in tree.items():
            if path.startswith(b"%d/" % thread):
                chunk_id = KEYS.chunk_id(content)
                if writer.reserve([chunk_id])[0]:
                    writer.add_segment([chunk_id], [content])

    threads = [threading.Thread(target=store, args=(thread,)) for thread in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for path in sorted(tree, key=sort_key):
        writer.add_entries([file_entry(path, KEYS.chunk_id(tree[path]))])
    writer.seal(body=body(), validate=never_stop)
    assert bench.read(1) == bench.read(1, index=bench.index()) == tree


def test_two_writers_share_a_vault_without_knowing_of_each_other() -> None:
    bench = new_bench()
    index = bench.index()
    first, second = bench.writer(1, index=index), bench.writer(2, index=bench.index())
    bench.fill(first, TREE)
    bench.fill(second, {**TREE, b"zz": b"only here"})
    first.seal(body=body(), validate=never_stop)
    second.seal(body=body(), validate=never_stop)
    merged = bench.index()
    assert bench.read(1, index=merged) == TREE
    assert bench.read(2, index=merged) == {**TREE, b"zz": b"only here"}


def test_a_point_that_was_sealed_before_stays_and_is_returned() -> None:
    bench = new_bench()
    first = bench.write(1, TREE)
    second = bench.write(1, {b"other": b"tree"})
    assert (second.created, second.body, second.manifest_sha256) == (False, first.body, first.manifest_sha256)
    assert bench.read(1) == TREE


def test_a_point_cannot_name_a_chunk_that_nobody_stored() -> None:
    bench = new_bench()
    asked: list[str] = []
    writer = bench.writer(1)
    writer.add_entries([file_entry(b"a", KEYS.chunk_id(b"never stored"))])
    with pytest.raises(SkyharborError, match="never stored"):
        writer.seal(body=body(), validate=lambda: asked.append("the tower"))
    writer.abort()
    assert (bench.vault.points(MACHINE), asked) == ([], [])


def test_the_table_of_some_chunks_is_all_that_another_process_needs_to_read_them() -> None:
    bench = new_bench()
    tree = {b"%03d" % number: b"%d." % number * 90 for number in range(60)}
    bench.write(1, tree)
    for index in (bench.index(), None):
        reader = bench.reader(1, index=index)
        ids = b"".join(entry.chunks for entry in reader.entries())[10 * 32 : 30 * 32]
        table = table_from(table_bytes(reader.finder.table_of(ids + KEYS.chunk_id(b"unknown") + ids[:32])))
        finder = TableFinder()
        finder.turn_to(table)
        alone = ChunkReader(finder, SegmentSource(bench.vault, KEYS, keep=0), KEYS)
        assert len(table) == 20
        assert list(alone.read_chunks(ids)) == list(reader.read_chunks(ids))


def test_another_machine_s_keys_open_nothing() -> None:
    bench = new_bench()
    bench.write(1, TREE)
    stranger = Bench(bench.vault, type(KEYS).derive(bytes(32)))
    with pytest.raises(SkyharborError) as caught:
        stranger.read(1)
    assert caught.value.code == "object-damaged"
    assert len(ChunkIndex.load(bench.vault, MACHINE, stranger.keys, cache_dir=None)) == 0


def test_points_are_listed_by_time() -> None:
    bench = new_bench()
    for number in (3, 1, 2):
        bench.write(number, TREE)
    assert [point.point_id for point in bench.vault.points(MACHINE)] == [point_id(1), point_id(2), point_id(3)]
