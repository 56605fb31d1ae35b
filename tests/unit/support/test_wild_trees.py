"""Arbitrary edits stay inside of their tree: they run as root, on nodes that lead to real files and devices."""

import os
import stat

import pytest
from hypothesis import HealthCheck, given, settings

from tests.support.trees import Node, plant
from tests.support.wild_trees import HARMLESS_MAJORS, Edit, edit, wild_trees

_NAMED_A = 3  # the number by which edits that make something choose the name ``a``


@pytest.fixture
def outside(tmp_path):
    path = tmp_path / "outside"
    path.write_bytes(b"untouched")
    return path


@pytest.mark.parametrize("what", ["make file", "make folder", "rename", "link"])
def test_an_edit_does_not_write_through_a_symlink(tmp_path, outside, what):
    nodes = [Node(b"a", "symlink", target=os.fsencode(outside)), Node(b"f", data=b"f")]
    edit(plant(tmp_path / "tree", nodes), [Edit(what, 1, 0, _NAMED_A)])
    assert (outside.read_bytes(), sorted(os.listdir(tmp_path))) == (b"untouched", ["outside", "tree"])


def test_an_edit_that_saves_anew_does_not_write_through_a_symlink_in_the_place_of_its_temporary_file(tmp_path, outside):
    nodes = [Node(b"x", data=b"f"), Node(b"~", "symlink", target=os.fsencode(outside))]
    edit(plant(tmp_path / "tree", nodes), [Edit("save anew", 0, 0, 0)])
    assert outside.read_bytes() == b"untouched"


@pytest.mark.timeout(20)
def test_an_edit_does_not_wait_for_a_fifo_of_the_name_that_it_wants(tmp_path):
    tree = plant(tmp_path / "tree", [Node(b"a", "fifo")])
    edit(tree, [Edit("make file", 0, 0, _NAMED_A)])
    assert stat.S_ISFIFO(os.lstat(f"{tree}/a").st_mode)


@settings(max_examples=100, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(wild_trees())
def test_devices_that_are_drawn_have_numbers_that_no_driver_has(nodes):
    assert {node.rdev[0] for node in nodes if node.kind in ("device", "block")} <= {*HARMLESS_MAJORS}
