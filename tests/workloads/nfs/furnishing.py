"""A tree with all that NFS can tell of."""

from __future__ import annotations

import os
import socket

from tests.support.compare import differences

WHEN = 1_700_000_000_123_456_000
"""To the microsecond, which is what can be given back to a server."""


def write(folder, name, data):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def furnish(tree, *, at_ns=WHEN, devices=True, links=True):
    """Fill a folder."""
    for number in range(150):
        write(tree, f"d{number % 5}/e{number % 3}/{number}", os.urandom(number * 50))
    write(tree, "large", os.urandom(9 * 1024 * 1024 + 11))
    write(tree, "empty", b"")
    write(tree, "grüße 日本", b"1")
    write(tree, os.fsdecode(b"not-utf8-\xff\xfe"), b"2")
    write(tree, os.fsdecode(b"\x80folder\xff/in"), b"3")
    write(tree, "n" * 255, b"4")
    os.symlink("d1/e1/1", tree / "link")
    os.symlink(b"/nowhere at all \xff", os.fsencode(tree / "broken"))
    os.mkfifo(tree / "pipe")
    with socket.socket(socket.AF_UNIX) as node:
        folder = os.open(tree, os.O_PATH)
        node.bind(f"/proc/self/fd/{folder}/socket")
        os.close(folder)
    if devices:
        os.mknod(tree / "null", 0o20640, os.makedev(1, 3))
        os.mknod(tree / "disk", 0o60600, os.makedev(259, 300))
    if links:
        os.link(tree / "large", tree / "d3/large-too")
        os.link(tree / "large", tree / "zz")
        os.link(tree / "pipe", tree / "pipe-too")
    (tree / "large").chmod(0o640)
    (tree / "d1").chmod(0o1750)
    os.chown(tree / "large", 1234, 200_000)
    os.chown(tree / "d2", 1, 1)
    os.chown(tree / "link", 77, 78, follow_symlinks=False)
    (tree / "d0/e0/0").chmod(0o4755)
    for folder, folders, files in os.walk(tree, topdown=False):
        for name in (*files, *folders):
            os.utime(os.path.join(folder, name), ns=(at_ns, at_ns), follow_symlinks=False)
    os.utime(tree, ns=(at_ns, at_ns))


def names(path):
    """All paths below a folder."""
    return {
        os.path.relpath(os.path.join(folder, name), path)
        for folder, folders, files in os.walk(path)
        for name in (*folders, *files)
    }


def inner_differences(one, other, **options):
    """How what is in one folder differs from what is in another; the folders themselves are not in points."""
    return [line for line in differences(str(one), str(other), **options) if not line.startswith("b'.':")]
