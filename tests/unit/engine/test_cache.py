"""What happens to the scratch cache never costs more than time: the next backup works and stores nothing twice."""

import contextlib
import os
import random
import shutil
import subprocess

import pytest

from shared.model.backup import BackupType
from tests.support.trees import IS_ROOT, Node, plant, settle
from tests.unit.engine.rig import Rig

SEED = random.Random(3)


def _delete(cache, mount):
    shutil.rmtree(cache)


def _rot(cache, mount):
    for folder, _, names in os.walk(cache):
        for name in names:
            with open(os.path.join(folder, name), "r+b") as file:
                file.seek(100)
                file.write(b"rot")


def _cut(cache, mount):
    for folder, _, names in os.walk(cache):
        for name in names:
            os.truncate(os.path.join(folder, name), 10)


def _make_read_only(cache, mount):
    _delete(cache, mount)
    os.mkdir(cache)
    mount("-o", "ro,size=1m")


def _fill(cache, mount):
    _delete(cache, mount)
    os.mkdir(cache)
    mount("-o", "size=16k")
    with contextlib.suppress(OSError), open(f"{cache}/all-there-is", "wb", buffering=0) as file:
        while True:
            file.write(b"x" * 1024)


def _leave_a_little_room(cache, mount):
    """Room for the folders and a part of the segment."""
    _delete(cache, mount)
    os.mkdir(cache)
    mount("-o", "size=4k")


def _put_a_file_in_its_place(cache, mount):
    _delete(cache, mount)
    with open(cache, "wb"):
        pass


@pytest.fixture
def cache(tmp_path_factory):
    """Where the cache is: not above the tree, whose parents' times are in the point."""
    return str(tmp_path_factory.mktemp("machine") / "cache")


@pytest.fixture
def mount(cache):
    """Mounts a tmpfs over the cache until the end of the test."""
    done = []

    def act(*options):
        command = ["mount", "-t", "tmpfs", *options, "tmpfs", cache]
        if not IS_ROOT or subprocess.run(command, check=False, capture_output=True).returncode:
            pytest.skip("mounting is not allowed here")
        done.append(cache)

    yield act
    for path in done:
        subprocess.run(["umount", path], check=True)


@pytest.mark.parametrize(
    "harm",
    [_delete, _rot, _cut, _make_read_only, _fill, _leave_a_little_room, _put_a_file_in_its_place],
    ids=lambda harm: harm.__name__.strip("_").replace("_", " "),
)
def test_after_any_harm_to_the_cache_the_next_backup_works_and_stores_nothing_twice(tmp_path, cache, mount, harm):
    nodes = [Node(b"%03d" % number, data=SEED.randbytes(20_000)) for number in range(200)]
    tree = plant(tmp_path / "tree", nodes)
    rig = Rig(cache=cache)
    settle(tree)
    first = rig.backup(tree)
    rig.index()  # as the next unit would: fills the cache
    assert 0 < _size(cache) <= first.stats.bytes_scanned / 100
    harm(cache, mount)
    full = rig.backup(tree, type=BackupType.FULL)
    with open(f"{tree}/new", "wb") as file:
        file.write(b"new")
    incremental = rig.backup(tree)
    assert (full.stats.bytes_read, full.warnings) == (first.stats.bytes_read, ())
    assert full.stats.chunks_new <= 1  # the page with the tree's parents: others write into a folder for all
    assert (incremental.stats.files_unchanged, incremental.stats.bytes_read) == (200, 3)
    assert incremental.stats.chunks_new <= 3  # the file, its page and that of the parents
    assert rig.index().problems == []


def _size(folder):
    return sum(os.path.getsize(os.path.join(at, name)) for at, _, names in os.walk(folder) for name in names)
