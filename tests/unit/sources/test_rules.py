"""What an item's rules leave out, alone and together; the claims of ``workers.sources.rules``, one by one."""

import itertools
import os
import resource
import stat
import subprocess
from contextlib import contextmanager

import pytest

from shared.contracts.sources import ExcludeRules, FilesSource
from shared.errors import SkyharborError
from shared.model.backup import Notice
from tests.support.trees import IS_ROOT, Node, plant, settle
from tests.unit.engine.rig import Rig
from workers.sources.files import FilesAdapter
from workers.sources.rules import SIGNATURE, TAG, Rules

CACHES = ExcludeRules(caches=True)
NODUMP = ExcludeRules(nodump=True)
ONE_FILE_SYSTEM = ExcludeRules(one_file_system=True)


def folder(path):
    return Node(path, "dir", mode=0o755)


def scanned(tree, *more, rules=ExcludeRules(), excludes=()):
    """What a scan of the tree (and more given paths) finds below it, what it says, and how many it left out."""
    adapter = FilesAdapter(FilesSource(paths=(tree, *more), excludes=tuple(excludes), rules=rules))
    found = list(adapter.scan())
    top = os.fsencode(tree)[1:] + b"/"
    paths = [path for item in found if not isinstance(item, Notice) for path in item.paths]
    below = [path.removeprefix(top).decode() for path in paths if path.startswith(top)]
    return below, [item.code for item in found if isinstance(item, Notice)], adapter.excluded


# ── caches ───────────────────────────────────────────────────────────────────────────────────────────


def test_of_a_cache_the_folder_and_the_tag_stay_and_the_rest_is_counted_and_not_said(tmp_path):
    tree = plant(
        tmp_path / "t",
        [folder(b"c"), Node(b"c/" + TAG, data=SIGNATURE + b"\n# by us"), folder(b"c/d"), Node(b"c/d/x"), Node(b"c/y")],
    )
    assert scanned(tree, rules=CACHES) == (["c", "c/CACHEDIR.TAG"], [], 2)
    assert scanned(tree) == (["c", "c/CACHEDIR.TAG", "c/d", "c/d/x", "c/y"], [], 0)


@pytest.mark.parametrize(
    "tag",
    [
        Node(b"c/" + TAG, data=SIGNATURE[:-1]),
        Node(b"c/" + TAG, data=b" " + SIGNATURE),
        Node(b"c/" + TAG),
        Node(b"c/" + TAG, "symlink", target=b"../signed"),
        Node(b"c/" + TAG, "fifo"),
        Node(b"c/" + TAG, "socket"),
        Node(b"c/" + TAG, "dir", mode=0o755),
        Node(b"c/cachedir.tag", data=SIGNATURE),
    ],
    ids=["cut short", "not at the beginning", "empty", "symlink", "fifo", "socket", "directory", "in lower case"],
)
def test_what_is_not_the_standards_tag_leaves_nothing_out(tmp_path, tag):
    tree = plant(tmp_path / "t", [Node(b"signed", data=SIGNATURE), folder(b"c"), tag, Node(b"c/x")])
    below, notices, excluded = scanned(tree, rules=CACHES)
    assert (below, notices, excluded) == (["c", f"{tag.path.decode()}", "c/x", "signed"], [], 0)


def test_a_tag_that_vanishes_after_it_was_listed_is_none(tmp_path):
    names = [TAG, b"x"]
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        assert Rules(FilesSource(paths=(), rules=CACHES)).kept(b"c", names, fd) == names
    finally:
        os.close(fd)


def test_a_tag_that_cannot_be_read_is_none(tmp_path):
    nodes = [folder(b"t"), folder(b"t/c"), Node(b"t/c/" + TAG, data=SIGNATURE, mode=0), Node(b"t/c/x")]
    tree = plant(tmp_path / "o", nodes) + "/t"
    with _unprivileged(tmp_path / "o"):
        assert scanned(tree, rules=CACHES) == (["c", "c/CACHEDIR.TAG", "c/x"], [], 0)


def test_running_out_of_descriptors_fails_the_scan_instead_of_guessing(tmp_path):
    plant(tmp_path / "c", [Node(TAG, data=SIGNATURE)])
    fd = os.open(tmp_path / "c", os.O_RDONLY)
    info = os.stat(TAG, dir_fd=fd)
    try:
        with _no_descriptors(), pytest.raises(SkyharborError) as at_a_tag:
            Rules(FilesSource(paths=(), rules=CACHES)).kept(b"c", [TAG], fd)
        with _no_descriptors(), pytest.raises(SkyharborError) as at_a_file:
            Rules(FilesSource(paths=(), rules=NODUMP)).leave_out(b"c/" + TAG, info, TAG, fd)
    finally:
        os.close(fd)
    told = [(caught.value.code, caught.value.detail.split(":")[0]) for caught in (at_a_tag, at_a_file)]
    assert told == [("source-failed", "/c/CACHEDIR.TAG")] * 2


# ── tags by name ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "kind", [{}, {"kind": "symlink", "target": b"nowhere"}, {"kind": "fifo"}, {"kind": "dir", "mode": 0o755}]
)
def test_a_node_of_the_name_of_whatever_kind_keeps_the_rest_of_its_folder_out(tmp_path, kind):
    tree = plant(
        tmp_path / "t", [Node(b".out.not"), folder(b"d"), Node(b"d/.out", **kind), folder(b"d/e"), Node(b"d/e/x")]
    )
    rules = ExcludeRules(if_present=(".none", ".out"))
    assert scanned(tree, rules=rules) == ([".out.not", "d", "d/.out"], [], 1)


def test_a_tag_that_is_a_directory_stays_empty(tmp_path):
    tree = plant(tmp_path / "t", [folder(b"d"), folder(b"d/.git"), Node(b"d/.git/x"), Node(b"d/.git/y"), Node(b"d/z")])
    assert scanned(tree, rules=ExcludeRules(if_present=(".git",))) == (["d", "d/.git"], [], 3)


def test_several_tags_of_a_folder_all_stay(tmp_path):
    tree = plant(
        tmp_path / "t", [folder(b"d"), Node(b"d/.a"), Node(b"d/.b"), Node(b"d/" + TAG, data=SIGNATURE), Node(b"d/x")]
    )
    rules = ExcludeRules(caches=True, if_present=(".b", ".a"))
    assert scanned(tree, rules=rules) == (["d", "d/.a", "d/.b", "d/CACHEDIR.TAG"], [], 1)


# ── nodump ───────────────────────────────────────────────────────────────────────────────────────────


def test_what_has_the_nodump_attribute_is_left_out_with_all_below_it(tmp_path):
    tree = plant(tmp_path / "t", [folder(b"d"), Node(b"d/x"), Node(b"f"), Node(b"g"), Node(b"p", "fifo")])
    _set_nodump(f"{tree}/d", f"{tree}/f")
    assert scanned(tree, rules=NODUMP) == (["g", "p"], [], 2)
    assert scanned(tree) == (["d", "d/x", "f", "g", "p"], [], 0)


def test_a_file_that_nobody_may_open_is_not_taken_for_one_with_nodump(tmp_path):
    nodes = [folder(b"t"), Node(b"t/f", mode=0), Node(b"t/s", "socket"), Node(b"t/l", "symlink", target=b"f")]
    tree = plant(tmp_path / "o", nodes) + "/t"
    with _unprivileged(tmp_path / "o"):
        adapter = FilesAdapter(FilesSource(paths=(tree,), rules=NODUMP))
        (found,) = adapter.scan()
    names = [path.rpartition(b"/")[2] for path in found.paths]
    assert (names[-3:], adapter.excluded) == ([b"f", b"l", b"s"], 0)


def test_attributes_are_asked_for_under_their_rule_only(tmp_path):
    plant(tmp_path / "c", [Node(b"f")])
    fd = os.open(tmp_path / "c", os.O_RDONLY)
    info = os.stat(b"f", dir_fd=fd)
    try:
        with _no_descriptors():  # asking would need one
            others = Rules(FilesSource(paths=(), excludes=("x",), rules=ExcludeRules(larger_than=1)))
            assert others.leave_out(b"c/f", info, b"f", fd) is False
    finally:
        os.close(fd)


# ── size ─────────────────────────────────────────────────────────────────────────────────────────────


def test_files_of_more_bytes_are_left_out_and_nothing_else(tmp_path):
    tree = plant(
        tmp_path / "t",
        [
            Node(b"equal", data=b"x" * 10),
            Node(b"hole", size=11),
            Node(b"more", data=b"x" * 11),
            Node(b"symlink", "symlink", target=b"t" * 100),
            folder(b"z"),
        ],
    )
    assert scanned(tree, rules=ExcludeRules(larger_than=10)) == (["equal", "symlink", "z"], [], 2)


# ── file systems ─────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def _mounted(path, kind="tmpfs"):
    if not IS_ROOT or subprocess.run(["mount", "-t", kind, kind, path], check=False, capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        yield
    finally:
        subprocess.run(["umount", path], check=True)


@pytest.fixture
def other_disk(tmp_path):
    """A tree with a file system of its own at ``m``; the walk enters no tmpfs by itself, so it is an ext4."""
    tree = plant(tmp_path / "t", [folder(b"m"), Node(b"z")])
    image = tmp_path / "image"
    with open(image, "wb") as file:
        file.truncate(8 << 20)
    made = subprocess.run(["mkfs.ext4", "-q", "-m0", str(image)], check=False, capture_output=True)
    mount = ["mount", "-o", "loop", str(image), f"{tree}/m"]
    if made.returncode or not IS_ROOT or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        os.rmdir(f"{tree}/m/lost+found")
        plant(f"{tree}/m/in", [folder(b"er"), Node(b"er/x"), Node(b"y")])
        plant(f"{tree}/m/zz", [Node(b"zzz")])
        yield tree
    finally:
        subprocess.run(["umount", f"{tree}/m"], check=True)


def test_a_mount_point_stays_as_an_empty_folder(other_disk):
    assert scanned(other_disk, rules=ONE_FILE_SYSTEM) == (["m", "z"], [], 1)
    whole = ["m", "m/in", "m/in/er", "m/in/er/x", "m/in/y", "m/zz", "m/zz/zzz", "z"]
    assert scanned(other_disk) == (whole, [], 0)


def test_a_mount_point_that_is_given_is_entered(other_disk):
    whole = ["m", "m/in", "m/in/er", "m/in/er/x", "m/in/y", "m/zz", "m/zz/zzz"]
    assert scanned(f"{other_disk}/m", rules=ONE_FILE_SYSTEM)[0] == [path.removeprefix("m/") for path in whole[1:]]
    assert scanned(other_disk, f"{other_disk}/m", rules=ONE_FILE_SYSTEM) == ([*whole, "z"], [], 0)


def test_of_a_file_system_that_holds_a_given_path_only_the_way_there_is_kept(other_disk):
    found = scanned(other_disk, f"{other_disk}/m/in/er", rules=ONE_FILE_SYSTEM)
    assert found == (["m", "m/in", "m/in/er", "m/in/er/x", "z"], [], 2)  # m/zz and m/in/y


def test_a_pseudo_file_system_that_is_left_out_by_rule_is_not_said(tmp_path):
    tree = plant(tmp_path / "t", [folder(b"p")])
    with _mounted(f"{tree}/p", "proc"):
        assert scanned(tree, rules=ONE_FILE_SYSTEM) == (["p"], [], 1)


# ── given paths ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["folder", "file"])
@pytest.mark.parametrize("above", [False, True])
def test_no_rule_applies_to_a_given_path(tmp_path, name, above):
    signed = Node(b"folder/" + TAG, data=SIGNATURE)
    tree = plant(
        tmp_path / "t",
        [folder(b"folder"), signed, Node(b"folder/.out"), Node(b"folder/x"), Node(b"file", data=b"12"), Node(b"zz")],
    )
    _set_nodump(f"{tree}/folder", f"{tree}/file")
    patterns = [f"{tree}/{name}"]
    rules = ExcludeRules(caches=True, if_present=(".out",), nodump=True, larger_than=1000, one_file_system=True)
    if name == "file":
        rules = ExcludeRules(nodump=True, larger_than=1)
    paths = (tree, f"{tree}/{name}") if above else (f"{tree}/{name}",)
    adapter = FilesAdapter(FilesSource(paths=paths, excludes=tuple(patterns), rules=rules))
    found = [path for item in adapter.scan() if not isinstance(item, Notice) for path in item.paths]
    top = os.fsencode(tree)[1:] + b"/"
    below = {path.removeprefix(top).decode() for path in found if path.startswith(top)}
    given = {"folder", "folder/.out", "folder/CACHEDIR.TAG", "folder/x"} if name == "folder" else {"file"}
    assert below - {"zz"} == given
    assert ("zz" in below, adapter.excluded) == (above, 1 if above else 0)  # the other one of the two


@pytest.mark.parametrize(
    ("excludes", "rules"),
    [
        (["a"], ExcludeRules()),
        ([], CACHES),
        ([], ExcludeRules(if_present=(".out",))),
        ([], NODUMP),
        (["a", "b"], ExcludeRules(caches=True, if_present=(".out",), nodump=True)),
    ],
    ids=["pattern", "cache", "tag", "nodump", "all of them"],
)
def test_of_a_folder_that_is_left_out_only_the_way_to_a_given_path_is_kept(tmp_path, excludes, rules):
    nodes = [folder(b"a"), Node(b"a/" + TAG, data=SIGNATURE), Node(b"a/.out"), folder(b"a/b"), folder(b"a/b/given")]
    nodes += [Node(b"a/b/given/x"), Node(b"a/b/y"), folder(b"a/c"), Node(b"a/c/x"), Node(b"a/z")]
    tree = plant(tmp_path / "t", nodes)
    _set_nodump(f"{tree}/a")
    below, notices, _ = scanned(tree, f"{tree}/a/b/given", f"{tree}/a/z", excludes=excludes, rules=rules)
    tags = {"a/.out", "a/CACHEDIR.TAG"}
    assert (sorted(set(below) - tags), notices) == (["a", "a/b", "a/b/given", "a/b/given/x", "a/z"], [])


# ── together ─────────────────────────────────────────────────────────────────────────────────────────

SINGLE = {
    "caches": True,
    "if_present": (".out",),
    "nodump": True,
    "larger_than": 5,
    "one_file_system": True,
}


def test_of_several_rules_each_leaves_out_what_it_leaves_out_alone(tmp_path):
    nodes = [folder(b"a"), Node(b"a/" + TAG, data=SIGNATURE[:43]), Node(b"a/x"), Node(b"big", data=b"123456")]
    nodes += [folder(b"b"), Node(b"b/.out"), folder(b"b/d"), Node(b"b/d/x"), folder(b"n"), Node(b"n/x"), Node(b"n.tmp")]
    nodes += [folder(b"b/d/c"), folder(b"p"), Node(b"z", data=b"12345"), Node(b"z.tmp", data=b"123456")]
    tree = plant(tmp_path / "t", nodes)
    _set_nodump(f"{tree}/n", f"{tree}/z.tmp")
    with _mounted(f"{tree}/p", "ramfs") if IS_ROOT else pytest.skip("needs root to mount"):
        everything = set(scanned(tree)[0])
        names = [*SINGLE, "excludes"]
        alone = {name: set(_scan_under(tree, [name])) for name in names}
        assert all(alone[name] < everything for name in names if name != "one_file_system")
        for count in range(2, len(names) + 1):
            for chosen in itertools.combinations(names, count):
                expected = set.intersection(*(alone[name] for name in chosen))
                assert set(_scan_under(tree, chosen)) == expected, chosen


def _scan_under(tree, names):
    rules = ExcludeRules(**{name: SINGLE[name] for name in names if name in SINGLE})
    return scanned(tree, rules=rules, excludes=["*.tmp"] if "excludes" in names else [])[0]


# ── from point to point ──────────────────────────────────────────────────────────────────────────────


def test_a_change_of_the_rules_removes_and_adds_files_at_the_next_incremental(tmp_path):
    nodes = [folder(b"c"), Node(b"c/" + TAG, data=SIGNATURE), Node(b"c/1", data=b"1"), Node(b"c/2", data=b"2")]
    tree = plant(tmp_path / "t", [*nodes, Node(b"big", data=b"b" * 100), Node(b"k", data=b"k")])
    settle(tree)
    rig = Rig()
    first = rig.backup(tree, rules=ExcludeRules(larger_than=99))
    second = rig.backup(tree, rules=CACHES)
    third = rig.backup(tree)

    def counts(done):
        stats = done.stats
        return stats.files, stats.files_new, stats.files_removed, stats.files_unchanged, stats.excluded, stats.warnings

    assert [counts(done) for done in (first, second, third)] == [
        (4, 4, 0, 0, 1, 0),
        (3, 1, 2, 2, 2, 0),  # big comes, c/1 and c/2 go
        (5, 2, 0, 3, 0, 0),
    ]
    assert (third.stats.chunks_new, third.stats.bytes_read) == (1, 2)  # the page; what c held is in the vault


# ── helpers ──────────────────────────────────────────────────────────────────────────────────────────


def _set_nodump(*paths):
    if subprocess.run(["chattr", "+d", *paths], check=False, capture_output=True).returncode:
        pytest.skip("this file system keeps no attributes of chattr")


@contextmanager
def _unprivileged(reach):
    """Without the superuser's leave to read everything, for as long as the block; the folder stays within reach."""
    if not IS_ROOT:
        yield
        return
    for path in (reach, *reach.parents):
        mode = stat.S_IMODE(os.stat(path).st_mode)
        if not (mode & stat.S_IXGRP and mode & stat.S_IXOTH):  # the group stays root's
            os.chmod(path, mode | stat.S_IXGRP | stat.S_IXOTH)  # noqa: S103
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@contextmanager
def _no_descriptors():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.open("/", os.O_RDONLY)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
