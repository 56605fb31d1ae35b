"""Keeps a copy of a tree for later comparison: what a restore is judged by may not come from the engine.

Rule of the file: small trees, plain ``os`` calls; whoever copies compares right away, so the copy needs no trust.
"""

from __future__ import annotations

import os
import stat

from tests.support.chattr import chattr, lsattr
from tests.support.compare import differences
from tests.support.descent import walk


def copy_tree(tree: str, copy: str) -> str:
    """Copy a tree with everything that the comparer sees, prove that with it, and return the copy's path."""
    source, target = os.fsencode(tree), os.fsencode(copy)
    nodes = [b""]
    for _, folder, names in walk(source):
        nodes += [folder + b"/" + name if folder else name for name in names]
    first: dict[tuple[int, int], bytes] = {}
    for path in nodes:
        info = os.lstat(source + b"/" + path)
        known = first.setdefault((info.st_dev, info.st_ino), path)
        if known != path:
            os.link(target + b"/" + known, target + b"/" + path, follow_symlinks=False)
        else:
            _make(source + b"/" + path, target + b"/" + path, info)
    for path in reversed(nodes):
        _dress(source + b"/" + path, target + b"/" + path)
    for path in nodes:
        info = os.lstat(source + b"/" + path)
        if stat.S_ISREG(info.st_mode) or stat.S_ISDIR(info.st_mode):
            letters = lsattr(source + b"/" + path)
            if letters:
                chattr(target + b"/" + path, letters)
    assert differences(tree, copy) == []
    return copy


def _make(source: bytes, target: bytes, info: os.stat_result) -> None:
    if stat.S_ISDIR(info.st_mode):
        os.mkdir(target.rstrip(b"/"), 0o700)
    elif stat.S_ISLNK(info.st_mode):
        os.symlink(os.readlink(source), target)
    elif stat.S_ISREG(info.st_mode):
        _copy_data(source, target, info.st_size)
    else:
        os.mknod(target, 0o600 | stat.S_IFMT(info.st_mode), info.st_rdev)


def _copy_data(source: bytes, target: bytes, size: int) -> None:
    with open(source, "rb") as original, open(target, "wb") as copy:
        at = 0
        while at < size:
            try:
                at = os.lseek(original.fileno(), at, os.SEEK_DATA)
            except OSError:
                break
            end = os.lseek(original.fileno(), at, os.SEEK_HOLE)
            os.pwrite(copy.fileno(), os.pread(original.fileno(), end - at, at), at)
            at = end
        copy.truncate(size)


def _dress(source: bytes, target: bytes) -> None:
    info = os.lstat(source)
    if os.geteuid() == 0:
        os.chown(target, info.st_uid, info.st_gid, follow_symlinks=False)
    for name in os.listxattr(source, follow_symlinks=False):
        os.setxattr(target, name, os.getxattr(source, name, follow_symlinks=False), follow_symlinks=False)
    if not stat.S_ISLNK(info.st_mode):
        os.chmod(target, stat.S_IMODE(info.st_mode))
    os.utime(target, ns=(info.st_mtime_ns, info.st_mtime_ns), follow_symlinks=False)
