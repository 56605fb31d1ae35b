"""A point whose name is fenced does not exist, whatever manifest appears there, for every reader and writer."""

from __future__ import annotations

import pytest

from shared.clock import SystemClock
from shared.errors import SkyharborError
from shared.storage.memory import MemoryStore
from shared.vault import layout
from shared.vault.fences import fenced_points, is_fenced, put_fence
from shared.vault.layout import PointName
from shared.vault.vault import open_vault
from tests.unit.vault.bench import ITEM, MACHINE, Bench, body, never_stop, new_bench, outcome_of, point_id

TREE = {b"a": b"one" * 100, b"b": b"two" * 100}


def name(number: int) -> PointName:
    return PointName(MACHINE, ITEM, point_id(number))


@pytest.fixture
def bench() -> Bench:
    bench = new_bench()
    bench.write(1, TREE)
    bench.write(2, TREE)
    put_fence(bench.store, name(2), SystemClock())
    return bench


def test_a_fence_is_put_once_and_stands_on_one_name(bench: Bench) -> None:
    assert not put_fence(bench.store, name(2), SystemClock())
    assert fenced_points(bench.store) == fenced_points(bench.store, MACHINE) == {name(2)}
    assert [is_fenced(bench.store, name(1)), is_fenced(bench.store, name(2))] == [False, True]


def test_names_in_the_folder_of_fences_that_are_not_of_points_are_foreign() -> None:
    assert layout.parse_fence(layout.fence_name(name(1))) == name(1)
    assert [layout.parse_fence(text) for text in ("fenced/a/b", "fenced/a/b/.c", "points/a/b/c", "fenced/a/b/c/d")] == [
        None
    ] * 4


def test_a_fenced_point_is_not_among_the_points(bench: Bench) -> None:
    assert bench.vault.points(MACHINE) == bench.vault.points(MACHINE, ITEM) == [name(1)]
    assert [bench.vault.has_point(name(1)), bench.vault.has_point(name(2))] == [True, False]


def test_a_point_that_the_tower_names_is_read_whatever_fence_somebody_has_put(bench: Bench) -> None:
    """Whoever can only put objects cannot keep the tower from restoring."""
    assert bench.read(2) == TREE


def test_a_lost_header_is_not_made_from_a_fenced_manifest(bench: Bench) -> None:
    bench.store.delete(layout.VAULT)
    assert open_vault(bench.store).id == bench.vault.id
    bench.store.delete(layout.point_name(name(1)))
    failure = outcome_of(lambda: open_vault(bench.store))
    assert isinstance(failure, SkyharborError)
    assert failure.code == "vault-missing"


def test_an_index_is_not_rebuilt_from_the_packs_of_a_fenced_manifest() -> None:
    bench = new_bench()
    bench.write(1, TREE)
    bench.write(2, {b"c": b"three" * 100})
    only_in_second = {pack.name for pack in bench.reader(2).packs} - {pack.name for pack in bench.reader(1).packs}
    put_fence(bench.store, name(2), SystemClock())
    for segment in bench.names(layout.INDEX):
        bench.store.delete(segment)
    assert only_in_second
    assert not bench.index().pack_names() & only_in_second


def test_a_writer_that_comes_too_late_is_told_that_there_is_no_point() -> None:
    bench = new_bench()
    writer = bench.writer(1)
    bench.fill(writer, TREE)
    # Between the leave to seal and the manifest: as if this process had slept there.
    failure = outcome_of(
        lambda: writer.seal(body=body(), validate=lambda: bool(put_fence(bench.store, name(1), SystemClock())) or None)
    )
    writer.abort()
    assert isinstance(failure, SkyharborError)
    assert failure.code == "point-fenced"
    assert bench.vault.points(MACHINE) == []


def test_a_writer_is_not_handed_the_manifest_that_a_ghost_put_behind_the_fence() -> None:
    bench = new_bench(MemoryStore())
    bench.write(1, TREE)
    put_fence(bench.store, name(1), SystemClock())
    writer = bench.writer(1)
    bench.fill(writer, TREE)
    failure = outcome_of(lambda: writer.seal(body=body(), validate=never_stop))
    writer.abort()
    assert isinstance(failure, SkyharborError)
    assert failure.code == "point-fenced"
