"""A scan of a span meets what a whole scan meets there, and nothing else; a survey knows the folders."""

import os
import random

import pytest

from shared.contracts.sources import FilesSource
from shared.model.backup import Notice
from shared.vault.entry import sort_key
from tests.support.trees import IS_ROOT, Node, nasty, plant
from workers.engine.span import EVERYTHING, spans_between
from workers.sources.files import FilesAdapter


@pytest.fixture
def tree(tmp_path):
    return plant(tmp_path / "tree", nasty())


def _found(adapter, span=EVERYTHING):
    blocks = list(adapter.scan(span))
    paths = [path for block in blocks if not isinstance(block, Notice) for path in block.paths]
    return paths, [block for block in blocks if isinstance(block, Notice)]


def test_the_spans_one_after_the_other_are_the_scan_wherever_it_is_cut(tree, tmp_path):
    other = plant(tmp_path / "another", nasty())
    adapter = FilesAdapter(FilesSource(paths=(tree, other), excludes=("*deep",)))
    whole, notices = _found(adapter)
    rng = random.Random(5)
    missing = [path + suffix for path in whole for suffix in (b"!", b"/no", b"\1")]
    for _ in range(60):
        borders = sorted(set(rng.sample([*whole, *missing], rng.randint(1, 9))), key=sort_key)
        parts = [_found(adapter, span) for span in spans_between(borders)]
        assert [path for paths, _ in parts for path in paths] == whole, borders
        assert {notice for _, said in parts for notice in said} == set(notices)


def test_a_span_looks_only_at_the_names_that_lead_there(tmp_path, monkeypatch):
    tree = plant(tmp_path / "tree", [Node(b"d", "dir", mode=0o755), *(Node(b"d/%03d" % n) for n in range(200))])
    looked = []
    stat = os.stat
    monkeypatch.setattr(os, "stat", lambda path, **options: looked.append(path) or stat(path, **options))
    under = os.fsencode(tree)[1:]
    paths, _ = _found(
        FilesAdapter(FilesSource(paths=(tree,))), spans_between([under + b"/d/100", under + b"/d/110"])[1]
    )
    assert paths == [under + b"/d/%03d" % n for n in range(100, 110)]
    assert len([name for name in looked if len(name) == 3]) == 10


@pytest.mark.skipif(IS_ROOT, reason="root may read everything")
def test_a_folder_that_cannot_be_read_is_said_by_every_part_that_it_leads_to(tree):
    os.chmod(f"{tree}/a", 0)
    adapter = FilesAdapter(FilesSource(paths=(tree,)))
    parts = [_found(adapter, span) for span in spans_between([os.fsencode(tree)[1:] + b"/a/b"])]
    assert [[notice.code for notice in said] for _, said in parts] == [["unreadable"], ["unreadable"]]


def test_a_survey_counts_the_entries_of_folders_level_by_level(tmp_path):
    nodes = [Node(b"a", "dir"), Node(b"a/1"), Node(b"a/x", "dir"), Node(b"a/x/2"), Node(b"b", "dir"), Node(b"s")]
    tree = plant(tmp_path / "tree", [*nodes, Node(b"link", "symlink", target=b"a")])
    adapter = FilesAdapter(FilesSource(paths=(tree,), excludes=("s",)))
    under = os.fsencode(tree)[1:]
    assert adapter.survey(99) == ([(under, 3), (under + b"/a", 2), (under + b"/a/x", 1), (under + b"/b", 0)], False)
    assert adapter.survey(2) == ([(under, 3), (under + b"/a", 2), (under + b"/a/x", 0), (under + b"/b", 0)], True)
