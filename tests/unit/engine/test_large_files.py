"""A very large file is one file, whoever read its parts, or none."""

from datetime import timedelta

import pytest

from shared.clock import SystemClock
from shared.contracts.sources import FilesSource
from shared.crypto.domain_keys import DomainKeys
from tests.support.crews import scanned
from tests.support.trees import Node, plant
from workers.engine.large_file import LargeFile
from workers.engine.reading import RANGE, FileReading
from workers.sources.files import FilesAdapter

MIB = 1024 * 1024


class Everything:
    """A sink that has all chunks already."""

    def reserve(self, ids):
        return [False] * len(ids)


class Later(SystemClock):
    """A clock that is ahead."""

    def __init__(self, **ahead):
        self._ahead = timedelta(**ahead)

    def now(self):
        return super().now() + self._ahead


@pytest.fixture
def disk(tmp_path):
    pieces = ((0, b"x" * MIB), (RANGE - MIB, b"y" * 2 * MIB))
    return plant(tmp_path / "tree", [Node(b"disk", size=3 * RANGE, pieces=pieces)])


def read(tree, clock):
    source = FilesAdapter(FilesSource(paths=(tree,), excludes=()))
    reading = FileReading(source, DomainKeys.derive(b"k" * 32), Everything(), clock)
    large = LargeFile(scanned(tree)[-1])
    parts = [reading.read_range(large.entry, offset, length) for offset, length in large.ranges(source)]
    return large, parts


def test_parts_make_one_file_with_the_holes_between_them(disk):
    large, parts = read(disk, Later(hours=1))
    entry = large.put_together(parts)
    assert [len(part.ids) > 0 for part in parts] == [True, True]
    assert (entry.chunks, entry.ctime_ns) == (parts[0].ids + parts[1].ids, large.entry.ctime_ns)
    assert entry.holes == ((MIB, RANGE - 2 * MIB), (RANGE + MIB, 2 * RANGE - MIB))
    assert large.bytes_read == 3 * MIB


def test_a_file_changed_right_before_it_was_read_is_not_trusted_by_the_next_run(disk):
    # Within a tick of the file system's clock it may have changed again after it was read, and look the same.
    large, parts = read(disk, Later(milliseconds=-500))
    assert (large.put_together(parts).ctime_ns, large.entry.ctime_ns > 0) == (0, True)


@pytest.mark.parametrize("field", ["size", "mtime_ns", "ctime_ns", "inode"])
@pytest.mark.parametrize("which", [0, 1])
def test_parts_of_different_files_make_none(disk, field, which):
    large, parts = read(disk, Later(hours=1))
    setattr(parts[which].entry, field, getattr(parts[which].entry, field) + 1)
    assert large.put_together(parts) is None


def test_a_part_in_which_the_file_ended_early_makes_none(disk):
    large, parts = read(disk, Later(hours=1))
    assert large.put_together([parts[0], parts[1]._replace(ended=True)]) is None


def test_a_file_without_data_is_left_to_one_reader():
    assert LargeFile(None).put_together([]) is None
