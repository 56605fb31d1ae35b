"""A full disk at any write ends a backup with ``store-full``, a restore with ``target-full``, and nothing is half."""

from __future__ import annotations

import itertools
import os
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from shared.errors import SkyharborError
from shared.model.backup import ConflictRule
from shared.model.ids import new_id
from shared.storage.faulty import Fault, FaultyStore, Verb
from shared.storage.local import LocalStore
from shared.storage.object_store import ObjectStore
from tests.faults.invariants import (
    dangling_manifests,
    dangling_rows,
    not_proven,
    threads_left,
    unrestorable,
)
from tests.faults.scene import SECURE_OFTEN, Scene, first, make_scene, rig_on, second
from tests.support.compare import differences
from tests.support.counts import Tally
from tests.support.small_disk import NoDisk, SmallDisk, small_disk
from tests.unit.engine.rig import Rig

MATRIX = "disk full"
KIB = 1024
MANY = 1000


@pytest.fixture(scope="module")
def scene(place: str) -> Scene:
    """One point, and the source has changed since."""
    return make_scene(f"{place}/full", first, second)


@pytest.fixture
def disk(place: str) -> Iterator[SmallDisk]:
    try:
        with small_disk(f"{place}/disk", 64 * KIB) as made:
            yield made
    except NoDisk as error:
        pytest.skip(f"no file system can be mounted here: {error}")


def _code_of(call: Callable[[], object]) -> str | None:
    """Return the code of the error that a call ends with, None when it ends well."""
    try:
        call()
    except SkyharborError as error:
        return error.code
    return None


def _full(scene: Scene, rig: Rig, point: str) -> bool:
    """Back up; tell whether the store was full."""
    code = _code_of(lambda: rig.backup(scene.tree, point_id=point, options=SECURE_OFTEN))
    assert code in (None, "store-full")
    return code is not None


def _half_made(scene: Scene, store: ObjectStore, place: str) -> list[str]:
    """Say what is not as it was after a backup that found the disk full."""
    rig = rig_on(store)
    found = threads_left() + unrestorable(rig, scene.oracles, scene.tree, place)
    return found + dangling_manifests(rig, scene.oracles) + dangling_rows(rig, before_dropping=True)


def _incomplete(scene: Scene, store: ObjectStore, point: str, place: str) -> list[str]:
    """Say what is wrong once there was room and the job was tried again."""
    rig = rig_on(store)
    rig.backup(scene.tree, point_id=point, options=SECURE_OFTEN)
    oracles = {**scene.oracles, point: scene.now}
    return unrestorable(rig, oracles, scene.tree, place) + not_proven(rig, point) + dangling_manifests(rig, oracles)


def test_a_store_that_is_full_at_any_write_keeps_every_point_and_the_next_attempt_completes(
    scene: Scene, place: str, tally: Tally
) -> None:
    for nth in itertools.count(1):
        store, point = scene.copy(), new_id()
        # Full is full: for every later write too. Reading goes on.
        faults = [Fault(verb=Verb.PUT, nth=later, code="store-full") for later in range(nth, MANY)]
        if not _full(scene, rig_on(FaultyStore(store, faults)), point):
            break
        tally.add("writes refused")
        with tally.cell(f"full at write {nth}") as found:
            found += _half_made(scene, store, place) + _incomplete(scene, store, point, place)
    tally.judge(least=5)


def test_a_real_disk_that_is_full_at_any_page_keeps_every_point_and_the_next_attempt_completes(
    scene: Scene, place: str, disk: SmallDisk, tally: Tally
) -> None:
    for more in itertools.count(0, 4 * KIB):
        store, point = _on_disk(scene, f"{disk.path}/vault"), new_id()
        disk.resize(_used(disk.path) + more)
        full = _full(scene, rig_on(store), point)
        with tally.cell(f"full with {more} bytes more") as found:
            found += _half_made(scene, store, place) if full else []
            found += [f"{name} is left" for name in os.listdir(f"{disk.path}/vault/tmp")]
            disk.resize(16 * KIB * KIB)
            found += _incomplete(scene, store, point, place)
        store.close()
        shutil.rmtree(f"{disk.path}/vault")
        if not full:
            break
        tally.add("disks filled")
    tally.judge(least=4)


def test_a_file_that_grows_beyond_what_the_system_allows_is_a_full_store(
    scene: Scene, place: str, tally: Tally
) -> None:
    """The kernel stops the write in the middle of the object; needs no privileges."""
    for limit in itertools.count(0, 150):
        store, point = _on_disk(scene, f"{place}/limited"), new_id()
        with largest_file(limit):
            full = _full(scene, rig_on(store), point)
        with tally.cell(f"limited to {limit} bytes") as found:
            found += _half_made(scene, store, place) if full else []
            found += _incomplete(scene, store, point, place)
        store.close()
        shutil.rmtree(f"{place}/limited")
        if not full:
            break
        tally.add("files cut off")
    tally.judge(least=5)


def test_a_restore_onto_a_disk_that_is_full_at_any_step_leaves_whole_files_and_resumes(
    scene: Scene, disk: SmallDisk, tally: Tally
) -> None:
    rig = rig_on(scene.store)
    ((point, oracle),) = scene.oracles.items()
    out = f"{disk.path}/out"
    for size in itertools.count(4 * KIB, 40 * KIB):
        disk.resize(size)
        code = _code_of(lambda: rig.restore(out))
        assert code in (None, "target-full")
        with tally.cell(f"a disk of {size} bytes") as found:
            found += threads_left() + [f"half: {line}" for line in _different(oracle, f"{out}{scene.tree}")]
            disk.resize(16 * KIB * KIB)
            done = rig.restore(out, point_id=point, conflict=ConflictRule.OVERWRITE)
            found += [*map(str, done.warnings), *differences(oracle, f"{out}{scene.tree}", ignore=["holes"])]
        shutil.rmtree(out)
        if code is None:
            break
        tally.add("restores stopped")
    tally.judge(least=20)


def _different(oracle: str, out: str) -> list[str]:
    """Say which files are there and are not those of the oracle; directories may not be finished."""
    found = []
    for folder, _, files in os.walk(out):
        for name in files:
            path = os.path.join(folder, name)
            then = f"{oracle}{path[len(out) :]}"
            if os.path.isfile(path) and not os.path.islink(path) and _bytes(path) != _bytes(then):
                found.append(path)
    return found


def _bytes(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _on_disk(scene: Scene, folder: str) -> LocalStore:
    store = LocalStore.create(folder)
    for info in scene.store.list():
        store.put(info.name, [scene.store.get(info.name)])
    return store


def _used(path: str) -> int:
    status = os.statvfs(path)
    return (status.f_blocks - status.f_bfree) * status.f_frsize


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond so many bytes. (Python ignores the signal that comes with it.)"""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
