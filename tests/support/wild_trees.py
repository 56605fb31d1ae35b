"""Arbitrary trees with every kind of node and attribute, and arbitrary histories of them, by Hypothesis.

A history is a tree and batches of edits. An edit is a value too: it picks its victims by number from the sorted list of
what is there when its turn comes, so that whatever Hypothesis shrinks still does something.

Rule of the file: what this user cannot make is not drawn; ``edit`` changes a tree in place as programs do, and pays no
attention to who backs it up. It runs as root on names that may be anything, so files are written only when they are
made that very moment or were just seen to be regular: never through a symlink, a FIFO or a device.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache

from hypothesis import strategies as st

from tests.support.chattr import can_chattr, chattr, melt
from tests.support.descent import walk
from tests.support.trees import IS_ROOT, Node

_SECOND = 10**9
HARMLESS_MAJORS = (60, 61, 62, 63, 120, 121, 122, 123, 124, 125, 126, 127)
"""Kept for local use by Linux, so that no driver is behind a device that is drawn: tests run as root."""

_INHERITED = bytes.fromhex("0200000001000600ffffffff02000500e803000004000400ffffffff10000700ffffffff20000000ffffffff")
"""An ACL: user 1000 may read and enter, others nothing."""


@dataclass(frozen=True)
class Edit:
    """One change: what, two picks among the nodes that are there, and a number to vary it by."""

    what: str
    first: int
    second: int
    number: int


@dataclass(frozen=True)
class History:
    """A tree and what happens to it before each further backup."""

    nodes: list[Node]
    batches: list[list[Edit]]


@cache
def _letters() -> str:
    return "".join(letter for letter in "iadAS" if can_chattr(tempfile.gettempdir(), letter))


# ── trees ────────────────────────────────────────────────────────────────────────────────────────────

_names = st.one_of(
    st.sampled_from([b"a", b"b", b"a!", b"a.b", b"A", b"-", b" ", b"\n", b"\xff", b"z" * 255]),
    st.binary(min_size=1, max_size=10).filter(lambda n: n not in (b".", b"..") and b"/" not in n and b"\0" not in n),
)
_times = st.one_of(
    st.integers(-(2**31) * _SECOND, 2**33 * _SECOND),
    st.sampled_from([-1, 0, 1, 2**31 * _SECOND, 1_600_000_000_123_456_789]),
)
_owners = st.sampled_from([None, (0, 0), (1, 2), (65_534, 65_534), (4_000_000_000, 7)]) if IS_ROOT else st.none()
_values = st.binary(max_size=60)


def _xattrs(namespaces: Sequence[str]) -> st.SearchStrategy[tuple[tuple[str, bytes], ...]]:
    names = [f"{namespace}.{name}" for namespace in namespaces for name in ("a", "b.c", "\udcff")]
    if not names:
        return st.just(())
    return st.dictionaries(st.sampled_from(names), _values, max_size=2).map(lambda d: tuple(sorted(d.items())))


_open_xattrs = _xattrs(["user", "trusted", "security"] if IS_ROOT else ["user"])
_path_xattrs = _xattrs(["trusted"] if IS_ROOT else [])
_any_mode = st.integers(0, 0o7777) if IS_ROOT else st.integers(0o400, 0o777)
_folder_mode = st.integers(0, 0o7777) if IS_ROOT else st.integers(0o700, 0o777)


def _flags() -> st.SearchStrategy[str]:
    letters = _letters()
    if not letters:
        return st.just("")
    return st.one_of(st.just(""), st.just(""), st.sets(st.sampled_from(letters)).map(lambda s: "".join(sorted(s))))


def _pattern(seed: int, size: int) -> bytes:
    return bytes((seed * (n + 1)) % 253 for n in range(251)) * (size // 251 + 1)


_data = st.one_of(
    st.binary(max_size=100),
    st.builds(lambda seed, size: _pattern(seed, size)[:size], st.integers(1, 250), st.integers(1, 20_000)),
    st.sampled_from(
        [bytes(4096), bytes(10_000), _pattern(3, 1_048_576)[:1_048_576], _pattern(5, 1_500_000)[:1_500_000]]
    ),
)
_pieces = st.lists(
    st.builds(
        lambda block, count, seed: (block * 4096, _pattern(seed, count)[:count]),
        st.integers(0, 600),
        st.integers(1, 9_000),
        st.integers(1, 250),
    ),
    max_size=4,
).map(tuple)


@st.composite
def _leaf(draw: st.DrawFn) -> dict[str, object]:
    kinds = ["file", "file", "file", "sparse", "symlink", "fifo", "socket"]
    kind = draw(st.sampled_from([*kinds, "device", "block"] if IS_ROOT else kinds))
    made: dict[str, object] = {"kind": kind, "mtime_ns": draw(_times), "owner": draw(_owners)}
    if kind == "symlink":
        made["target"] = draw(st.binary(min_size=1, max_size=80).filter(lambda target: b"\0" not in target))
        made["xattrs"] = draw(_path_xattrs)
        return made
    made["mode"] = draw(_any_mode)
    if kind in ("file", "sparse"):
        made |= {"kind": "file", "xattrs": draw(_open_xattrs), "flags": draw(_flags())}
        if kind == "file":
            made["data"] = draw(_data)
        else:
            pieces = draw(_pieces)
            end = max((offset + len(data) for offset, data in pieces), default=0)
            made |= {"pieces": pieces, "size": end + draw(st.sampled_from([0, 1, 4096, 3_000_000]))}
    else:
        made["xattrs"] = draw(_path_xattrs)
        if kind in ("device", "block"):
            made["rdev"] = draw(st.tuples(st.sampled_from(HARMLESS_MAJORS), st.integers(0, 2**18 - 1)))
    return made


@st.composite
def _folder(draw: st.DrawFn) -> dict[str, object]:
    xattrs = dict(draw(_open_xattrs))
    if draw(st.integers(0, 5)) == 5:
        xattrs["system.posix_acl_default"] = _INHERITED
    return {
        "kind": "dir",
        "mode": draw(_folder_mode),
        "mtime_ns": draw(_times),
        "owner": draw(_owners),
        "xattrs": tuple(sorted(xattrs.items())),
        "flags": draw(_flags()),
    }


# Levels of a fixed shape and not ``st.recursive``, which mostly draws trees of next to nothing.
_low = st.dictionaries(_names, _leaf(), max_size=4)
_middle = st.dictionaries(_names, st.one_of(_leaf(), st.tuples(_folder(), _low)), max_size=4)
_trees = st.dictionaries(_names, st.one_of(_leaf(), st.tuples(_folder(), _middle)), min_size=2, max_size=5)


@st.composite
def wild_trees(draw: st.DrawFn) -> list[Node]:
    """Arbitrary small trees: every kind of node this user can make, any attribute, hard links of whatever has none."""
    nodes: list[Node] = []
    _flatten(b"", draw(_trees), nodes)
    targets = [node.path for node in nodes if node.kind != "dir"]
    folders = [b"", *(node.path + b"/" for node in nodes if node.kind == "dir")]
    if targets:
        links = draw(st.lists(st.tuples(st.sampled_from(targets), st.sampled_from(folders)), max_size=3))
        for number, (target, folder) in enumerate(links):
            nodes.append(Node(folder + b"~link-%d" % number, "link", target=target))
    return nodes


def _flatten(prefix: bytes, content: dict[bytes, object], nodes: list[Node]) -> None:
    for name, value in sorted(content.items()):
        path = prefix + name
        if isinstance(value, tuple):
            folder, inner = value
            nodes.append(Node(path, **folder))
            _flatten(path + b"/", inner, nodes)
        elif isinstance(value, dict):
            nodes.append(Node(path, **value))


# ── histories ────────────────────────────────────────────────────────────────────────────────────────


@st.composite
def histories(draw: st.DrawFn, batches: int = 3) -> History:
    """A tree and what happens to it: one to so many batches of edits."""
    edits = st.builds(
        Edit, st.sampled_from(sorted(_EDITS)), st.integers(0, 63), st.integers(0, 63), st.integers(0, 999)
    )
    return History(
        draw(wild_trees()), draw(st.lists(st.lists(edits, min_size=2, max_size=8), min_size=1, max_size=batches))
    )


def edit(tree: str, edits: Sequence[Edit]) -> None:
    """Change a tree in place. What cannot be done where it stands is left out."""
    root = os.fsencode(tree)
    melt(tree)
    for one in edits:
        nodes = _nodes(root)
        if nodes:
            with suppress(OSError):
                _EDITS[one.what](root, nodes, one)


def _nodes(root: bytes) -> list[bytes]:
    return sorted(
        root + b"/" + (folder + b"/" + name if folder else name) for _, folder, names in walk(root) for name in names
    )


def _pick(nodes: list[bytes], number: int, *types: int) -> bytes:
    fitting = [node for node in nodes if not types or stat.S_IFMT(os.lstat(node).st_mode) in types]
    if not fitting:
        raise FileNotFoundError
    return fitting[number % len(fitting)]


def _place(root: bytes, nodes: list[bytes], one: Edit) -> bytes:
    """A name that may or may not be taken, in any directory."""
    folders = [root, *(node for node in nodes if stat.S_ISDIR(os.lstat(node).st_mode))]
    return folders[one.second % len(folders)] + b"/" + (b"new-%d" % one.number if one.number % 3 else b"a")


def _append(root: bytes, nodes: list[bytes], one: Edit) -> None:
    with open(_pick(nodes, one.first, stat.S_IFREG), "ab") as file:
        file.write(_pattern(one.number % 250 + 1, one.number))


def _overwrite(root: bytes, nodes: list[bytes], one: Edit) -> None:
    with open(_pick(nodes, one.first, stat.S_IFREG), "r+b") as file:
        file.seek(one.second * 4096)
        file.write(_pattern(one.number % 250 + 1, 300)[: one.number + 1])


def _touch_back(root: bytes, nodes: list[bytes], one: Edit) -> None:
    """What only the change time tells: other bytes, the same size, the same modification time."""
    path = _pick(nodes, one.first, stat.S_IFREG)
    info = os.stat(path)
    with open(path, "r+b") as file:
        first = file.read(1)
        if first:
            file.seek(0)
            file.write(bytes([(first[0] + 1 + one.number % 255) % 256]))
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))


def _truncate(root: bytes, nodes: list[bytes], one: Edit) -> None:
    os.truncate(_pick(nodes, one.first, stat.S_IFREG), one.number * one.second)


def _chmod(root: bytes, nodes: list[bytes], one: Edit) -> None:
    path = _pick(nodes, one.first)
    if not stat.S_ISLNK(os.lstat(path).st_mode):
        os.chmod(path, one.number * 8 % 0o10000 if IS_ROOT else 0o700)


def _chown(root: bytes, nodes: list[bytes], one: Edit) -> None:
    os.chown(_pick(nodes, one.first), one.number, one.second, follow_symlinks=False)


def _retime(root: bytes, nodes: list[bytes], one: Edit) -> None:
    at = (one.number - 500) * 10_000_000 * _SECOND // 7
    os.utime(_pick(nodes, one.first), ns=(at, at), follow_symlinks=False)


def _set_xattr(root: bytes, nodes: list[bytes], one: Edit) -> None:
    path = _pick(nodes, one.first)
    name = "trusted.a" if one.number % 2 and IS_ROOT else "user.a"
    os.setxattr(path, name, b"%d" % one.number * (one.second % 40), follow_symlinks=False)


def _remove_xattrs(root: bytes, nodes: list[bytes], one: Edit) -> None:
    path = _pick(nodes, one.first)
    for name in os.listxattr(path, follow_symlinks=False):
        os.removexattr(path, name, follow_symlinks=False)


def _set_flags(root: bytes, nodes: list[bytes], one: Edit) -> None:
    # Nothing that forbids the edits to come: those are taken away before each batch and may stay at its end.
    letters = "".join(letter for number, letter in enumerate(_letters()) if one.number >> number & 1)
    path = _pick(nodes, one.first, stat.S_IFREG, stat.S_IFDIR)
    chattr(path, letters)


def _rename(root: bytes, nodes: list[bytes], one: Edit) -> None:
    os.rename(_pick(nodes, one.first), _place(root, nodes, one))


def _rename_over(root: bytes, nodes: list[bytes], one: Edit) -> None:
    os.rename(_pick(nodes, one.first), _pick(nodes, one.second))


def _link(root: bytes, nodes: list[bytes], one: Edit) -> None:
    os.link(_pick(nodes, one.first), _place(root, nodes, one), follow_symlinks=False)


def _unlink(root: bytes, nodes: list[bytes], one: Edit) -> None:
    path = _pick(nodes, one.first)
    if stat.S_ISDIR(os.lstat(path).st_mode):
        shutil.rmtree(path)
    else:
        os.unlink(path)


def _make_file(root: bytes, nodes: list[bytes], one: Edit) -> None:
    _write(_place(root, nodes, one), _pattern(one.number % 250 + 1, one.number * 10)[: one.number * 10])


def _make_folder(root: bytes, nodes: list[bytes], one: Edit) -> None:
    os.mkdir(_place(root, nodes, one))


def _file_by_folder(root: bytes, nodes: list[bytes], one: Edit) -> None:
    path = _pick(nodes, one.first, stat.S_IFREG, stat.S_IFLNK, stat.S_IFIFO)
    os.unlink(path)
    os.mkdir(path)
    _write(path + b"/inside", b"%d" % one.number)


def _folder_by_file(root: bytes, nodes: list[bytes], one: Edit) -> None:
    path = _pick(nodes, one.first, stat.S_IFDIR)
    shutil.rmtree(path)
    _write(path, b"%d" % one.number)


def _save_anew(root: bytes, nodes: list[bytes], one: Edit) -> None:
    """As editors do: a new file takes the name, with the old one's size and time."""
    path = _pick(nodes, one.first, stat.S_IFREG)
    info = os.stat(path)
    _write(path[:-1] + b"~", _pattern(one.number % 250 + 1, info.st_size)[: info.st_size])
    os.utime(path[:-1] + b"~", ns=(info.st_atime_ns, info.st_mtime_ns))
    os.rename(path[:-1] + b"~", path)


def _write(path: bytes, data: bytes) -> None:
    """Make a file; FileExistsError when anything has the name."""
    with open(path, "xb") as file:
        file.write(data)


_EDITS: dict[str, Callable[[bytes, list[bytes], Edit], None]] = {
    "append": _append,
    "overwrite": _overwrite,
    "touch back": _touch_back,
    "truncate": _truncate,
    "chmod": _chmod,
    "chown": _chown,
    "retime": _retime,
    "set xattr": _set_xattr,
    "remove xattrs": _remove_xattrs,
    "set flags": _set_flags,
    "rename": _rename,
    "rename over": _rename_over,
    "link": _link,
    "unlink": _unlink,
    "make file": _make_file,
    "make folder": _make_folder,
    "file by folder": _file_by_folder,
    "folder by file": _folder_by_file,
    "save anew": _save_anew,
}
