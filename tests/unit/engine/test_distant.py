"""A source behind a network is told what comes, before it is asked for the first of it; others are only warmed."""

import os

from shared.contracts.sources import FilesSource
from tests.unit.engine.rig import Rig
from workers.sources.files import FilesAdapter


class _Far(FilesAdapter):
    """Files that take part in the port of distant sources."""

    def __init__(self, *args):
        super().__init__(*args)
        self.events = []

    def announce(self, entries):
        self.events.append(("announced", [entry.path for entry in entries]))

    def read_whole(self, entry, room):
        self.events.append(("asked", [entry.path]))
        return super().read_whole(entry, room)

    def complete(self, entry):
        self.events.append(("asked", [entry.path]))
        return super().complete(entry)

    def warm(self, entries):
        raise AssertionError(entries)


def test_a_distant_source_is_told_every_node_of_a_batch_in_order_before_the_first(tmp_path):
    tree = tmp_path / "tree"
    for number in range(1500):
        (tree / str(number % 7)).mkdir(parents=True, exist_ok=True)
        (tree / str(number % 7) / str(number)).write_bytes(os.urandom(10))
    source = _Far(FilesSource(paths=(str(tree),)))
    done = Rig().backup(str(tree), source=source)
    announced, waiting = set(), []
    for what, paths in source.events:
        if what == "announced":
            announced.update(paths)
            waiting.append(len(paths))
        else:
            assert set(paths) <= announced
    nodes = done.stats.files + done.stats.directories
    assert (len(announced), done.stats.files, max(waiting) > 100) == (nodes, 1500, True)
