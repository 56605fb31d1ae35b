"""Builders of directory trees: nasty ones by hand, arbitrary ones by Hypothesis.

Rule of the file: a tree is a value (a sequence of ``Node``) until ``plant`` makes it; planting the same value gives the
same tree.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from hypothesis import strategies as st

from tests.support.chattr import chattr

IS_ROOT = os.geteuid() == 0


@dataclass(frozen=True)
class Node:
    """One node: ``kind`` is dir, file, symlink, fifo, socket, link, device (character) or block."""

    path: bytes
    kind: str = "file"
    data: bytes = b""
    target: bytes = b""
    mode: int = 0o644
    mtime_ns: int = 1_600_000_000_123_456_789
    owner: tuple[int, int] | None = None
    xattrs: tuple[tuple[str, bytes], ...] = ()
    size: int | None = None  # a sparse file of this size: ``pieces`` are its data
    pieces: tuple[tuple[int, bytes], ...] = field(default=())
    rdev: tuple[int, int] = (1, 3)
    flags: str = ""  # letters of chattr


def plant(root: os.PathLike[str] | str, nodes: Sequence[Node]) -> str:
    """Make the tree below ``root`` (made as well) and return its path. Directories' times come late, flags last."""
    base = os.fsencode(root)
    os.makedirs(base, exist_ok=True)
    for node in nodes:
        _make(base + b"/" + node.path, node, base)
    for node in reversed(nodes):
        _dress(base + b"/" + node.path, node)
    os.utime(base, ns=(1_500_000_000_000_000_001, 1_500_000_000_000_000_001))
    for node in nodes:
        if node.flags:
            chattr(base + b"/" + node.path, node.flags)
    return os.fsdecode(base)


def _make(path: bytes, node: Node, base: bytes) -> None:
    match node.kind:
        case "dir":
            os.mkdir(path, 0o700)
        case "file":
            with open(path, "wb") as out:
                out.write(node.data)
                for offset, data in node.pieces:
                    out.seek(offset)
                    out.write(data)
                if node.size is not None:
                    out.truncate(node.size)
        case "symlink":
            os.symlink(node.target, path)
        case "fifo":
            os.mkfifo(path)
        case "socket":
            os.mknod(path, 0o600 | stat.S_IFSOCK)
        case "device":
            os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(*node.rdev))
        case "block":
            os.mknod(path, 0o600 | stat.S_IFBLK, os.makedev(*node.rdev))
        case "link":
            os.link(base + b"/" + node.target, path, follow_symlinks=False)


def _dress(path: bytes, node: Node) -> None:
    if node.kind == "link":
        return
    if node.owner is not None:
        os.chown(path, *node.owner, follow_symlinks=False)
    for name, value in node.xattrs:
        os.setxattr(path, name, value, follow_symlinks=False)
    if node.kind != "symlink":
        os.chmod(path, node.mode)
    os.utime(path, ns=(node.mtime_ns, node.mtime_ns), follow_symlinks=False)


def settle(root: str) -> None:
    """Wait until a change made now would get a later time stamp than everything in the tree already has, with a margin.

    The engine reads files again that changed right before they were read; tests that count reads begin after that.
    """
    youngest = max(
        os.lstat(os.path.join(folder, name)).st_ctime_ns
        for folder, folders, files in os.walk(root)
        for name in [".", *folders, *files]
    )
    while time.time_ns() - youngest < 50_000_000:
        time.sleep(0.005)


def nasty() -> list[Node]:
    """A tree with everything that backup programs have got wrong."""
    nodes = [
        Node(b"a", "dir", mode=0o755),
        Node(b"a!", data=b"sorts between a and a/b in naive orders"),
        Node(b"a/b", data=b"1"),
        Node(b"a/deep", "dir", mode=0o2750 if IS_ROOT else 0o750),
        Node(b"a/deep/er", "dir", mode=0o500),
        Node(b"empty", "dir", mode=0o1777),
        Node(b"empty-file"),
        Node(b"name\nwith\tcontrol", data=b"x"),
        Node(b"not utf-8 \xff\xfe", data=b"y"),
        Node(b"-rf", data=b"z"),
        Node(b" trailing ", data=b"w"),
        Node(b"n" * 255, data=b"longest name"),
        Node(b"before 1970", data=b"old", mtime_ns=-1_000_000_001),
        Node(b"after 2038", data=b"late", mtime_ns=4_000_000_000_999_999_999),
        Node(b"read-only", data=b"r", mode=0o400),
        Node(b"link to nowhere", "symlink", target=b"../nowhere/\xff"),
        Node(b"link up", "symlink", target=b"."),
        Node(b"fifo", "fifo", mode=0o640),
        Node(b"socket", "socket", mode=0o755),
        Node(b"one", data=b"shared content"),
        Node(b"two", "link", target=b"one"),
        Node(b"a/three", "link", target=b"one"),
        Node(b"xattrs", data=b"x", xattrs=(("user.note", b"\x00binary\xff"), ("user.empty", b""))),
        Node(b"sparse", size=3_000_000, pieces=((1_048_576, b"middle" * 1000),)),
        Node(b"all hole", size=2_000_000),
        Node(b"large", data=os.urandom(9_000_000)),
        Node(b"twin of large", data=b"q" * 1_048_576),
    ]
    if IS_ROOT:
        nodes += [
            Node(b"null", "device", mode=0o666, owner=(0, 6)),
            Node(b"setuid", data=b"#!", mode=0o6755, owner=(33, 44)),
            Node(b"big owner", data=b"o", owner=(4_000_000_000, 3_999_999_999)),
            Node(b"owned dir", "dir", owner=(1000, 1001), xattrs=(("user.d", b"1"), ("trusted.t", b"2"))),
            Node(b"owned link", "symlink", target=b"x", owner=(7, 8), xattrs=(("trusted.l", b"3"),)),
            Node(b"capable", data=b"c", xattrs=(("security.capability", _CAP_NET_RAW),)),
        ]
    return sorted(nodes, key=lambda node: (node.kind == "link", node.path))


_CAP_NET_RAW = bytes.fromhex("0100000200200000000000000000000000000000")

_names = st.binary(min_size=1, max_size=12).filter(
    lambda name: name not in (b".", b"..") and b"/" not in name and b"\0" not in name
)
_contents = st.one_of(
    st.binary(max_size=200),
    st.builds(lambda seed, size: seed * size, st.binary(min_size=1, max_size=3), st.integers(1, 5000)),
)
_leaves = st.one_of(
    st.builds(
        lambda data, mode, mtime: ("file", data, mode, mtime),
        _contents,
        st.integers(0o400, 0o777),
        st.integers(-(10**18), 4 * 10**18),
    ),
    st.builds(lambda target: ("symlink", target, 0, 10**18), _names),
    st.just(("fifo", b"", 0o600, 10**18)),
)
_content = st.recursive(
    st.dictionaries(_names, _leaves, max_size=5),
    lambda inner: st.dictionaries(_names, st.one_of(_leaves, inner), max_size=5),
    max_leaves=25,
)


@st.composite
def trees(draw: st.DrawFn) -> list[Node]:
    """Arbitrary small trees with raw names, any time and mode, symlinks, FIFOs and hard links."""
    nodes: list[Node] = []
    _flatten(b"", draw(_content), nodes)
    files = [node.path for node in nodes if node.kind == "file"]
    if files and draw(st.booleans()):
        taken = {node.path for node in nodes}
        for number, target in enumerate(draw(st.lists(st.sampled_from(files), max_size=3))):
            name = b"hard-%d" % number
            if name not in taken:
                nodes.append(Node(name, "link", target=target))
    return nodes


def _flatten(prefix: bytes, content: dict[bytes, object], nodes: list[Node]) -> None:
    for name, value in sorted(content.items()):
        path = prefix + name
        if isinstance(value, dict):
            nodes.append(Node(path, "dir", mode=0o755))
            _flatten(path + b"/", value, nodes)
        elif isinstance(value, tuple):
            kind, data, mode, mtime = value
            extra = {"target": data} if kind == "symlink" else {"data": data}
            nodes.append(Node(path, kind, mode=mode, mtime_ns=mtime, **extra))
