"""Real trees are found by their number of files, alone or together."""

import os

import pytest

from tests.support.trees import Node, plant
from tools.trees import count_files, find_tree, find_trees


@pytest.fixture
def trees(tmp_path):
    small = plant(tmp_path / "small", [Node(b"%d" % number) for number in range(3)])
    big = plant(tmp_path / "big", [Node(b"in", "dir", mode=0o755), *(Node(b"in/%d" % number) for number in range(5))])
    return small, big, str(tmp_path / "missing")


def test_the_first_tree_that_is_large_enough_is_taken(trees):
    assert [find_tree(minimum, trees) for minimum in (3, 4, 6)] == [trees[0], trees[1], None]


def test_one_tree_is_enough_when_one_is_enough(trees):
    assert find_trees(5, trees, trees) == (trees[1],)


def test_several_trees_are_put_together_when_none_is_enough(trees):
    assert find_trees(7, trees, trees) == trees[:2]


def test_no_more_trees_are_taken_than_needed(trees, tmp_path):
    more = plant(tmp_path / "more", [Node(b"x")])
    assert find_trees(7, (), (*trees, more)) == trees[:2]


def test_no_tree_is_taken_twice_by_way_of_its_parent_or_child(trees):
    small, big, _ = trees
    assert find_trees(50, (), (big, f"{big}/in", os.path.dirname(big), small)) == (big, small)


def test_counting_ends_with_the_folder_in_which_there_are_enough(tmp_path):
    folders = [Node(b"a", "dir", mode=0o755), Node(b"b", "dir", mode=0o755)]
    tree = plant(tmp_path / "tree", [*folders, *(Node(b"%c/%d" % (folder, n)) for folder in b"ab" for n in range(4))])
    assert [count_files(tree, enough=enough) for enough in (2, 5, 99)] == [4, 8, 8]


def test_a_tree_that_is_missing_has_no_files(trees):
    assert count_files(trees[2], enough=1) == 0
