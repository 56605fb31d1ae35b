"""Attributes of ``chattr`` come back, and those that forbid changes do so only when nothing is left to be done."""

import os

import pytest

from shared.model.backup import ConflictRule
from tests.fidelity.trip import comes_back
from tests.support.chattr import can_chattr, chattr, lsattr, melt
from tests.support.compare import differences
from tests.support.mounts import image, mounted
from tests.support.trees import Node, plant, settle
from tests.unit.engine.rig import Rig


@pytest.fixture(autouse=True)
def _possible(tmp_path):
    if not can_chattr(tmp_path, "ia"):
        pytest.skip("this file system or user has no immutable and append-only attributes")


def _can(tmp_path, letters):
    if not can_chattr(tmp_path, letters):
        pytest.skip(f"this file system has no {letters} attribute")


@pytest.mark.parametrize("letters", ["i", "a", "d", "A", "S", "j", "s", "u", "c", "m", "x", "P", "iadAS"])
def test_an_attribute_of_a_file_comes_back(tmp_path, letters):
    _can(tmp_path, letters)
    nodes = [
        Node(b"small", data=b"x", mode=0o4755, flags=letters, xattrs=(("user.x", b"1"),)),
        Node(b"empty", mode=0o400, flags=letters),
        Node(b"large", data=b"0123456789abcdef" * 200_000, flags=letters),
        Node(b"sparse", size=5_000_000, pieces=((2_000_000, b"x" * 4096),), flags=letters),
        Node(b"plain", data=b"x"),
    ]
    assert comes_back(plant(tmp_path / "tree", nodes), tmp_path / "out") == []


@pytest.mark.parametrize("letters", ["i", "a", "d", "A", "S", "D", "T", "P", "iadASD"])
def test_an_attribute_of_a_directory_comes_back_and_what_is_below_has_its_own(tmp_path, letters):
    _can(tmp_path, letters)
    nodes = [
        Node(b"d", "dir", mode=0o2755, flags=letters, xattrs=(("user.x", b"1"),)),
        Node(b"d/e", "dir", mode=0o755, flags=letters),
        Node(b"d/e/f", data=b"x"),
        Node(b"d/g", "dir", mode=0o700),
        Node(b"d/g/h", data=b"y"),
        Node(b"d/fifo", "fifo"),
        Node(b"d/link", "symlink", target=b"g"),
    ]
    # Files inherit some of them when they are made; so these are given when the files are there.
    assert comes_back(plant(tmp_path / "tree", nodes), tmp_path / "out") == []


@pytest.mark.parametrize("letters", ["C", "c", "m"])
def test_an_attribute_that_only_an_empty_file_can_get_comes_back_on_a_full_one(tmp_path, letters):
    _can(tmp_path, letters)
    tree = plant(tmp_path / "tree", [Node(b"f"), Node(b"sparse"), Node(b"d", "dir", mode=0o755)])
    for name in ("f", "sparse", "d"):
        chattr(f"{tree}/{name}", letters)
    with open(f"{tree}/f", "wb") as file:
        file.write(b"0123456789abcdef" * 100_000)
    os.truncate(f"{tree}/sparse", 5_000_000)
    assert lsattr(f"{tree}/f") == letters
    assert comes_back(tree, tmp_path / "out") == []


@pytest.mark.parametrize("letters", ["C", "c", "m"])
def test_what_is_in_a_directory_does_not_inherit_from_it_what_it_did_not_have(tmp_path, letters):
    _can(tmp_path, letters)
    nodes = [Node(b"d", "dir", mode=0o755), Node(b"d/f", data=b"f" * 10_000), Node(b"d/e", "dir", mode=0o755)]
    tree = plant(tmp_path / "tree", nodes)
    chattr(f"{tree}/d", letters)
    assert comes_back(tree, tmp_path / "out") == []


def test_a_directory_that_folds_case_comes_back_with_what_is_in_it(tmp_path):
    with image("ext4", tmp_path / "disk", make=["-q", "-O", "casefold"]) as disk:
        tree = plant(f"{disk}/tree", [Node(b"d", "dir", mode=0o755)])
        chattr(f"{tree}/d", "F")
        plant(f"{tree}/d", [Node(b"Name", data=b"n"), Node(b"other", "symlink", target=b"name")])
        assert comes_back(tree, f"{disk}/out") == []


@pytest.mark.parametrize("letters", ["i", "a"])
def test_a_closed_file_with_several_names_gets_them_all(tmp_path, letters):
    nodes = [Node(b"d", "dir", mode=0o755), Node(b"d/one", data=b"x", flags=letters)]
    nodes += [Node(b"d/two", "link", target=b"d/one"), Node(b"z", "link", target=b"d/one")]
    tree = plant(tmp_path / "tree", nodes)
    assert comes_back(tree, tmp_path / "out") == []
    rig = Rig()
    rig.backup(tree)
    done = rig.restore(tmp_path / "part", f"{tree}/z", f"{tree}/d/two")
    assert (done.warnings, lsattr(f"{tmp_path}/part{tree}/z")) == ((), letters)


def test_a_root_that_is_immutable_comes_back(tmp_path):
    tree = plant(tmp_path / "tree", [Node(b"f", data=b"f", flags="i"), Node(b"d", "dir", mode=0o700, flags="a")])
    chattr(tree, "i")
    assert comes_back(tree, tmp_path / "out") == []


def test_setting_and_taking_away_an_attribute_is_in_the_next_point_without_reading_the_content_into_it_again(tmp_path):
    tree = plant(tmp_path / "tree", [Node(b"f", data=b"f" * 1000), Node(b"d", "dir", mode=0o700)])
    rig = Rig()
    settle(tree)
    rig.backup(tree)
    chattr(f"{tree}/f", "i")
    chattr(f"{tree}/d", "a")
    settle(tree)
    done = rig.backup(tree)
    assert (done.stats.files_changed, done.stats.files_unchanged) == (1, 0)
    rig.restore(tmp_path / "with")
    assert differences(tree, f"{tmp_path}/with{tree}") == []
    melt(tree)
    rig.backup(tree)
    rig.restore(tmp_path / "without")
    assert differences(tree, f"{tmp_path}/without{tree}") == []


@pytest.mark.parametrize("rule", list(ConflictRule))
def test_the_same_restore_again_has_nothing_to_say_about_closed_nodes(tmp_path, rule):
    nodes = [
        Node(b"d", "dir", mode=0o755, flags="i"),
        Node(b"d/f", data=b"f", flags="i"),
        Node(b"d/log", data=b"l", flags="a"),
        Node(b"d/link", "link", target=b"d/f"),
    ]
    tree = plant(tmp_path / "tree", nodes)
    rig = Rig()
    rig.backup(tree)
    rig.restore(tmp_path / "out", conflict=rule)
    done = rig.restore(tmp_path / "out", conflict=rule)
    if rule is ConflictRule.RENAME:
        # Nothing can be put beside them: that is said for each, and nothing is harmed.
        assert {notice.code for notice in done.warnings} == {"not-restored"}
    else:
        assert done.warnings == ()
    assert differences(tree, f"{tmp_path}/out{tree}", ignore=["mtime"]) == []


@pytest.mark.parametrize("letters", ["i", "d"])
def test_overwriting_gives_files_that_are_right_already_the_attributes_they_miss(tmp_path, letters):
    tree = plant(tmp_path / "tree", [Node(b"d", "dir", mode=0o755), Node(b"d/f", data=b"f", flags=letters)])
    rig = Rig()
    rig.backup(tree)
    rig.restore(tmp_path / "out")
    chattr(f"{tmp_path}/out{tree}/d/f", "")
    rig.restore(tmp_path / "out", conflict=ConflictRule.OVERWRITE)
    assert differences(tree, f"{tmp_path}/out{tree}") == []


def test_attributes_that_the_target_cannot_set_are_told_for_every_node(tmp_path):
    nodes = [
        Node(b"d", "dir", mode=0o755, flags="i"),
        Node(b"d/f", data=b"f", flags="iA"),
        Node(b"log", data=b"l", flags="a"),
        Node(b"plain", data=b"p"),
    ]
    tree = plant(tmp_path / "tree", nodes)
    rig = Rig()
    rig.backup(tree)
    with mounted("ramfs", tmp_path / "ramfs") as there:
        done = rig.restore(f"{there}/out")
        assert differences(tree, f"{there}/out{tree}", ignore=["flags"]) == []
    told = {notice.path.removeprefix(f"{tree}/"): [] for notice in done.warnings}
    for notice in done.warnings:
        assert notice.code == "metadata-not-kept"
        told[notice.path.removeprefix(f"{tree}/")].append(notice.message)
    assert {path: ", ".join(sorted(messages)) for path, messages in told.items()} == {
        "d": "immutable flag",
        "d/f": "immutable flag, no-atime flag",
        "log": "append-only flag",
    }


def test_of_several_attributes_those_that_the_target_has_are_kept(tmp_path):
    _can(tmp_path, "dS")
    tree = plant(tmp_path / "tree", [Node(b"f", data=b"f", flags="dS")])
    rig = Rig()
    rig.backup(tree)
    with mounted("tmpfs", tmp_path / "tmpfs") as there:
        if not can_chattr(there, "d") or can_chattr(there, "S"):
            pytest.skip("this tmpfs has other attributes")
        done = rig.restore(f"{there}/out")
        assert lsattr(f"{there}/out{tree}/f") == "d"
    assert [notice.message for notice in done.warnings] == ["sync flag"]


def test_attributes_that_new_nodes_inherit_from_the_target_are_taken_away(tmp_path):
    nodes = [Node(b"f", data=b"f"), Node(b"d", "dir", mode=0o700), Node(b"d/g", data=b"g", flags="d")]
    tree = plant(tmp_path / "tree", nodes)
    _can(tmp_path, "dAS")
    os.mkdir(tmp_path / "out")
    chattr(str(tmp_path / "out"), "dAS")
    assert comes_back(tree, tmp_path / "out") == []
