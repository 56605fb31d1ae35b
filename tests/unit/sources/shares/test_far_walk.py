"""The walk of a far tree is the tree in the order of a point, whatever the server answers and however it is cut."""

import random
import stat

import pytest

from shared.errors import SkyharborError
from shared.model.backup import Notice
from shared.vault.entry import sort_key
from workers.engine.ports import Unreadable
from workers.engine.span import EVERYTHING, spans_between
from workers.sources.excludes import Excludes
from workers.sources.shares.listing import Listed
from workers.sources.shares.stats import FarStat
from workers.sources.shares.walk import _AHEAD, Walk


class Tree:
    """A listing of a tree that is made up: paths of files, in any order, answered in any order."""

    def __init__(self, files, rng, *, shut=()):
        self.children = {b"": set()}
        self.shut = set(shut)
        for path in files:
            parts = path.split(b"/")
            for depth in range(len(parts)):
                above = b"/".join(parts[:depth])
                self.children.setdefault(above, set()).add(parts[depth])
        self._rng = rng
        self.asked, self.open, self.most_open, self.finished_paths = [], 0, 0, []

    def ask(self, folder):
        self.asked.append(folder)
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        return _Asked(self, folder)

    def finished(self, folder, rows):
        self.finished_paths += [folder + b"/" + name if folder else name for name, _ in rows]
        return rows

    def look(self, path):
        if path not in self.children:
            raise Unreadable(Notice("/" + path.decode(), "vanished", "it is not there"))
        return self.stat(path)

    def stat(self, path):
        kind = stat.S_IFDIR if path in self.children else stat.S_IFREG
        return FarStat(kind | 0o644, hash(path) & 0xFFFFFFFF | 1, 0, 1, 1, 0, 0)

    def rows(self, folder):
        rows = [(name, self.stat(folder + b"/" + name if folder else name)) for name in self.children[folder]]
        self._rng.shuffle(rows)
        return rows


class _Asked:
    def __init__(self, tree, folder):
        self._tree, self._folder = tree, folder

    def listed(self):
        self._tree.open -= 1
        if self._folder in self._tree.shut:
            raise Unreadable(Notice("/" + self._folder.decode(), "unreadable", "access denied"))
        return Listed(self._tree.rows(self._folder), [])

    def drop(self):
        self._tree.open -= 1


def _files(rng, count=300):
    names = [b"a", b"b", b"a-", b"a.", b"a b", b"A", b"\xc3\xbc", b"z!", b"0"]
    found = set()
    while len(found) < count:
        path = b"/".join(rng.choice(names) for _ in range(rng.randint(1, 6))) + b"/f%d" % rng.randrange(9)
        found.add(path)
    return found


def _walked(tree, span=EVERYTHING, excludes=(), top=b""):
    walk = Walk(tree, top, Excludes(excludes), span)
    paths, notices = [], []
    for block in walk:
        if isinstance(block, Notice):
            notices.append(block)
        else:
            paths += block.paths
    return paths, notices, walk.excluded


@pytest.mark.parametrize("seed", range(5))
def test_every_node_comes_once_and_in_order(seed):
    rng = random.Random(seed)
    files = _files(rng)
    tree = Tree(files, rng)
    paths, _, _ = _walked(tree)
    folders = set(tree.children) - {b""}
    assert paths == sorted(files | folders, key=sort_key)
    assert (len(tree.asked), tree.open) == (len(set(tree.asked)), 0)


@pytest.mark.parametrize("seed", range(5))
def test_spans_one_after_the_other_are_the_whole(seed):
    rng = random.Random(seed)
    files = _files(rng)
    whole, _, left_out = _walked(Tree(files, rng), excludes=["b/", "*8"])
    for _ in range(20):
        candidates = [path + end for path in whole for end in (b"", b"!", b"/x")]
        borders = sorted(set(rng.sample(candidates, rng.randint(1, 5))), key=sort_key)
        parts = [_walked(Tree(files, rng), span, ["b/", "*8"]) for span in spans_between(borders)]
        assert [path for paths, _, _ in parts for path in paths] == whole, borders
        assert sum(excluded for _, _, excluded in parts) == left_out, borders


def test_only_of_what_a_span_is_about_is_more_asked():
    files = [b"wide/%04d" % number for number in range(1000)]
    tree = Tree(files, random.Random(1))
    paths, _, _ = _walked(tree, spans_between([b"wide/0100", b"wide/0110"])[1])
    assert paths == [b"wide/%04d" % number for number in range(100, 110)]
    assert len(tree.finished_paths) == 11


def test_folders_are_asked_for_ahead_of_need_and_only_so_many():
    files = [b"%04d/file" % number for number in range(500)]
    tree = Tree(files, random.Random(1))
    _walked(tree)
    assert 2 < tree.most_open <= _AHEAD + 1


def test_a_folder_that_cannot_be_listed_is_told_and_the_rest_comes():
    files = [b"a/x", b"b/y", b"c/z"]
    paths, notices, _ = _walked(Tree(files, random.Random(1), shut=[b"b"]))
    assert (paths, [notice.path for notice in notices]) == ([b"a", b"a/x", b"b", b"c", b"c/z"], ["/b"])


def test_the_top_must_be_there_and_be_read():
    for top, shut, code in ((b"nothing", [], "source-missing"), (b"a", [b"a"], "source-failed")):
        with pytest.raises(SkyharborError) as caught:
            _walked(Tree([b"a/x"], random.Random(1), shut=shut), top=top)
        assert caught.value.code == code


def test_folders_above_the_top_come_along():
    paths, _, _ = _walked(Tree([b"a/b/c/x", b"a/other"], random.Random(1)), top=b"a/b")
    assert paths == [b"a", b"a/b", b"a/b/c", b"a/b/c/x"]


def test_a_walk_that_is_given_up_drops_what_it_has_asked_for():
    tree = Tree([b"%04d/file" % number for number in range(3000)], random.Random(1))
    walk = iter(Walk(tree, b"", Excludes([]), EVERYTHING))
    next(walk)
    walk.close()
    assert tree.open == 0


def test_a_tree_without_an_end_is_left_where_no_path_is_so_long():
    class Endless(Tree):
        def rows(self, folder):
            return [(b"a" * 200, FarStat(stat.S_IFDIR | 0o755, len(folder) + 2, 0, 1, 1, 0, 0))]

    tree = Endless([b"x/y"], random.Random(1))
    tree.children = {b"": set()}
    paths, notices, _ = _walked(tree)
    assert ([notice.code for notice in notices], 30_000 < len(paths[-1]) < 30_300) == (["too-deep"], True)


def test_the_same_number_on_another_file_system_is_no_loop():
    class Nested:
        def ask(self, folder):
            return _Answer(folder)

        def finished(self, folder, rows):
            return rows

        def look(self, path):
            return FarStat(stat.S_IFDIR | 0o755, 2, 0, 1, 1, 0, 0, st_dev=1)

    class _Answer:
        def __init__(self, folder):
            self.folder = folder

        def listed(self):
            device = {b"": 2, b"mounted": 1}.get(self.folder)
            if device is None:
                return Listed([], [])
            name = b"again" if self.folder else b"mounted"
            return Listed([(name, FarStat(stat.S_IFDIR | 0o755, 2, 0, 1, 1, 0, 0, st_dev=device))], [])

        def drop(self):
            pass

    found = list(Walk(Nested(), b"", Excludes(()), EVERYTHING))
    assert [notice.path for notice in found if isinstance(notice, Notice)] == ["/mounted/again"]
