"""The comparer notices every kind of difference, says it in one line, and finds none where there is none.

Everything that is claimed of restores stands on this.
"""

import os
import socket
import stat
import struct

import pytest

from tests.support.chattr import can_chattr, chattr, melt
from tests.support.clearing import clear
from tests.support.compare import differences
from tests.support.trees import IS_ROOT, Node, nasty, plant

needs_root = pytest.mark.skipif(not IS_ROOT, reason="only root can make this difference")


@pytest.fixture
def twins(tmp_path):
    """Two equal trees, made twice and not copied."""
    nodes = nasty()
    yield plant(tmp_path / "one", nodes), plant(tmp_path / "other", nodes)
    melt(tmp_path)


def _write(path, data):
    mtime_ns = os.stat(path).st_mtime_ns
    with open(path, "r+b") as file:
        file.write(data)
    os.utime(path, ns=(mtime_ns, mtime_ns))


def _replace(path, make):
    folder = os.path.dirname(path)
    mtime_ns, above = os.lstat(path).st_mtime_ns, os.stat(folder).st_mtime_ns
    os.unlink(path)
    make(path)
    os.utime(path, ns=(mtime_ns, mtime_ns), follow_symlinks=False)
    os.utime(folder, ns=(above, above))


def _change(act):
    """Do something in a directory without a trace in its time."""

    def change(tree):
        above = os.stat(tree).st_mtime_ns
        act(tree)
        os.utime(tree, ns=(above, above))

    return change


def _acl(*entries):
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


_ACL = _acl((1, 6, 0xFFFFFFFF), (2, 4, 1234), (4, 4, 0xFFFFFFFF), (16, 4, 0xFFFFFFFF), (32, 4, 0xFFFFFFFF))

CHANGES = {
    "a file is missing": (_change(lambda t: os.unlink(f"{t}/a!")), ["missing: b'a!'"]),
    "a file is extra": (_change(lambda t: os.mkfifo(f"{t}/x")), ["extra: b'x'"]),
    "a directory is missing": (
        _change(lambda t: (os.rmdir(f"{t}/empty"), None)),
        ["missing: b'empty'"],
    ),
    "a type": (
        lambda t: _replace(f"{t}/fifo", lambda p: os.mknod(p, 0o640 | stat.S_IFSOCK)),
        ["b'fifo': type FIFO became socket"],
    ),
    "one bit of content": (lambda t: _write(f"{t}/a/b", b"0"), ["b'a/b': content differs at 0"]),
    "a size": (lambda t: _write(f"{t}/a/b", b"12"), ["b'a/b': size 1 became 2"]),
    "a mode": (lambda t: os.chmod(f"{t}/empty", 0o700), ["b'empty': mode 1777 became 0700"]),
    "a nanosecond": (
        lambda t: os.utime(f"{t}/a!", ns=(0, 1_600_000_000_123_456_788)),
        ["b'a!': mtime 1600000000123456789 became 1600000000123456788"],
    ),
    "a nanosecond of a symlink": (
        lambda t: os.utime(f"{t}/link up", ns=(0, 1), follow_symlinks=False),
        ["b'link up': mtime 1600000000123456789 became 1"],
    ),
    "a symlink's target": (
        lambda t: _replace(f"{t}/link to nowhere", lambda p: os.symlink(b"../nowhere/", p)),
        [r"b'link to nowhere': target b'../nowhere/\xff' became b'../nowhere/'"],
    ),
    "an xattr's value": (
        lambda t: os.setxattr(f"{t}/xattrs", "user.empty", b"1"),
        ["b'xattrs': xattr user.empty b'' became b'1'"],
    ),
    "a missing xattr": (
        lambda t: os.removexattr(f"{t}/xattrs", "user.empty"),
        ["b'xattrs': xattr user.empty is missing"],
    ),
    "an extra xattr": (
        lambda t: os.setxattr(f"{t}/a", "user.x", b"1"),
        ["b'a': xattr user.x is extra: b'1'"],
    ),
    "an ACL": (
        lambda t: os.setxattr(f"{t}/a!", "system.posix_acl_access", _ACL),
        [f"b'a!': xattr system.posix_acl_access is extra: {_ACL[:40]!r}… (44 bytes)"],
    ),
    "a default ACL": (
        lambda t: os.setxattr(f"{t}/a", "system.posix_acl_default", _ACL),
        [f"b'a': xattr system.posix_acl_default is extra: {_ACL[:40]!r}… (44 bytes)"],
    ),
    "a torn hard link": (
        lambda t: _replace(f"{t}/two", lambda p: _copy(f"{t}/one", p)),
        ["b'two': hard link: same node as b'one' became node of its own"],
    ),
    "a hard link too many": (
        lambda t: (
            _replace(f"{t}/a!", lambda p: os.link(f"{t}/empty-file", p)),
            _write(f"{t}/a!", b"sorts between a and a/b in naive orders"),
        ),
        [
            "b'empty-file': size 0 became 39",
            "b'empty-file': hard link: node of its own became same node as b'a!'",
        ],
    ),
    "a filled hole": (
        lambda t: _fill(f"{t}/all hole", 65536, 4096),
        ["b'all hole': data range 0 of 0 nothing became 65536-69632 of 1"],
    ),
    "a hole instead of zeros": (
        lambda t: (_fill(f"{t}/all hole", 0, 4096), _fill(f"{t}/../one/all hole", 0, 8192)),
        ["b'all hole': data range 0 of 1 0-8192 became 0-4096 of 1"],
    ),
}

ROOTS_CHANGES = {
    "an owner": (lambda t: os.chown(f"{t}/a!", 0, 9), ["b'a!': owner 0:0 became 0:9"]),
    "a device number": (
        lambda t: _replace(f"{t}/null", lambda p: (os.mknod(p, 0o666 | stat.S_IFCHR, os.makedev(1, 5)), _as_null(p))),
        ["b'null': device 1:3 became 1:5"],
    ),
    "a capability": (
        lambda t: os.removexattr(f"{t}/capable", "security.capability"),
        ["b'capable': xattr security.capability is missing"],
    ),
    "a trusted xattr of a symlink": (
        lambda t: os.setxattr(f"{t}/owned link", "trusted.l", b"4", follow_symlinks=False),
        ["b'owned link': xattr trusted.l b'3' became b'4'"],
    ),
}


def _as_null(path):
    os.chmod(path, 0o666)  # noqa: S103
    os.chown(path, 0, 6)


def _copy(source, path):
    with open(source, "rb") as original, open(path, "wb") as copy:
        copy.write(original.read())
    os.chmod(path, 0o644)


def _fill(path, offset, count):
    mtime_ns = os.stat(path).st_mtime_ns
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(bytes(count))
    os.utime(path, ns=(mtime_ns, mtime_ns))


def test_equal_trees_do_not_differ(twins):
    assert differences(*twins) == []


@pytest.mark.parametrize("name", CHANGES)
def test_it_is_noticed(twins, name):
    change, lines = CHANGES[name]
    change(twins[1])
    assert differences(*twins) == lines


@needs_root
@pytest.mark.parametrize("name", ROOTS_CHANGES)
def test_what_root_can_make_different_is_noticed(twins, name):
    change, lines = ROOTS_CHANGES[name]
    change(twins[1])
    assert differences(*twins) == lines


@pytest.mark.parametrize("letter", list("dAiaSC"))
@pytest.mark.parametrize("node", ["empty-file", "a"])
def test_a_chattr_attribute_is_noticed(twins, node, letter):
    if not can_chattr(os.path.dirname(twins[1]), letter):
        pytest.skip(f"this file system or user has no {letter} attribute")
    above = os.stat(f"{twins[1]}/{node}").st_mtime_ns
    chattr(f"{twins[1]}/{node}", letter)
    assert os.stat(f"{twins[1]}/{node}").st_mtime_ns == above
    assert differences(*twins) == [f"b'{node}': flags none became {letter}"]


def test_access_times_do_not_matter(twins):
    os.utime(f"{twins[1]}/a!", ns=(1, os.stat(f"{twins[1]}/a!").st_mtime_ns))
    assert differences(*twins) == []


@pytest.mark.parametrize(
    ("ignored", "change"),
    [
        ("mode", lambda t: os.chmod(f"{t}/a!", 0o600)),
        ("mtime", lambda t: os.utime(f"{t}/a!", ns=(1, 1))),
        ("xattrs", lambda t: os.setxattr(f"{t}/a!", "user.x", b"1")),
        ("holes", lambda t: _fill(f"{t}/all hole", 0, 4096)),
        ("links", lambda t: _replace(f"{t}/two", lambda p: _copy(f"{t}/one", p))),
        pytest.param("owner", lambda t: os.chown(f"{t}/a!", 0, 9), marks=needs_root),
    ],
)
def test_what_is_ignored_is_not_told_and_nothing_else_is_ignored_with_it(twins, ignored, change):
    change(twins[1])
    _write(f"{twins[1]}/a/b", b"0")
    assert differences(*twins, ignore=[ignored]) == ["b'a/b': content differs at 0"]


def test_a_missing_directory_is_one_line_whatever_was_in_it(tmp_path):
    one = plant(tmp_path / "one", [Node(b"d", "dir"), Node(b"d/e", "dir"), Node(b"d/e/f")])
    other = plant(tmp_path / "other", [])
    assert differences(one, other) == ["missing: b'd'"]


def test_the_root_itself_is_compared(twins):
    os.utime(twins[1], ns=(7, 7))
    assert differences(*twins) == ["b'.': mtime 1500000000000000001 became 7"]


def test_a_difference_deeper_than_path_max_is_noticed(tmp_path):
    for tree, leaf in (("one", b"1"), ("other", b"2")):
        _dig(tmp_path / tree, 1_200, leaf)
    lines = differences(str(tmp_path / "one"), str(tmp_path / "other"), ignore=["mtime"])
    clear(tmp_path)
    assert lines == [f"b'{'level-xx/' * 1_200}leaf': content differs at 0"]


def _dig(root, depth, leaf):
    os.mkdir(root)
    at = os.open(root, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("level-xx", dir_fd=at)
        below = os.open("level-xx", os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    with open(os.open("leaf", os.O_CREAT | os.O_WRONLY, dir_fd=at), "wb") as file:
        file.write(leaf)
    os.close(at)


def test_large_holes_cost_nothing_and_a_byte_behind_them_is_found(tmp_path):
    size = 100 * 2**30
    nodes = [Node(b"huge", size=size, pieces=((size - 10, b"1"),))]
    one, other = plant(tmp_path / "one", nodes), plant(tmp_path / "other", nodes)
    assert differences(one, other) == []
    _write_at(f"{other}/huge", size - 10, b"2")
    assert differences(one, other) == [f"b'huge': content differs at {size - 10}"]


def _write_at(path, offset, data):
    mtime_ns = os.stat(path).st_mtime_ns
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(data)
    os.utime(path, ns=(mtime_ns, mtime_ns))


def test_a_live_socket_is_looked_at_and_not_opened(tmp_path):
    one, other = plant(tmp_path / "one", []), plant(tmp_path / "other", [])
    for tree in (one, other):
        with socket.socket(socket.AF_UNIX) as end:
            end.bind(f"{tree}/s")
        os.utime(f"{tree}/s", ns=(1, 1))
        os.utime(tree, ns=(1, 1))
    assert differences(one, other) == []
