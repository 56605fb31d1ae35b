"""Reads images with the product, as a tree in the shape of ``trees.states``."""

from __future__ import annotations

import stat
from pathlib import Path

from shared.vault.entry import EntryKind
from shared.vault.reader import PointReader
from tests.support.disk_points import point_of
from workers.disks.browser import Browser, Found, Gap

_TYPES = {
    EntryKind.FILE: stat.S_IFREG, EntryKind.DIRECTORY: stat.S_IFDIR, EntryKind.SYMLINK: stat.S_IFLNK,
    EntryKind.FIFO: stat.S_IFIFO, EntryKind.SOCKET: stat.S_IFSOCK, EntryKind.CHAR_DEVICE: stat.S_IFCHR,
    EntryKind.BLOCK_DEVICE: stat.S_IFBLK,
}  # fmt: skip


def content_of(browser: Browser, found: Found) -> bytes:
    parts = [bytes(part.length) if part.data is None else part.data for part in browser.content(found)]
    return b"".join(parts)


def read_states(
    browser: Browser, path: bytes, *, without: tuple[bytes, ...] = (b"lost+found",), content: bool = True
) -> dict[bytes, dict[str, object]]:
    """Walk everything below a path; gaps, troubles and losses are told as nodes of their own."""
    top = browser.find(path)[-1]
    states: dict[bytes, dict[str, object]] = {}
    skipped = [top.entry.path + b"/" + name for name in without]
    for one in browser.walk(top, full=True):
        if isinstance(one, Gap):
            states[one.path + b" GAP " + one.text.encode()] = {}
            continue
        entry = one.entry
        if any(entry.path == skip or entry.path.startswith(skip + b"/") for skip in skipped):
            continue
        if one.trouble or one.lost:
            states[entry.path + b" TROUBLE " + (one.trouble + one.lost).encode()] = {}
        is_file = entry.kind == EntryKind.FILE
        states[entry.path[len(path) + 1 :]] = {
            "mode": entry.mode | _TYPES[EntryKind(entry.kind)],
            "owner": (entry.uid, entry.gid),
            "size": entry.size if is_file else 0,
            "mtime": entry.mtime_ns,
            "links": one.links if is_file else 1,
            "rdev": entry.rdev,
            "target": entry.target,
            "xattrs": sorted(entry.xattrs),
            "content": content_of(browser, one) if is_file and content and not one.trouble else b"",
        }
    return states


def reader_of(*images: Path) -> PointReader:
    """Make a point of these disks, in order."""
    return point_of({f"disk{number}.raw": image for number, image in enumerate(images)})
