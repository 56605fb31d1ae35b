"""Walks a far tree depth-first, in the order of a recovery point, with folders asked for ahead of need.

Names are sorted by their bytes within each folder, which gives exactly the order of ``sort_key``. Memory grows with
depth, with the largest folder, and with the few folders that are asked for ahead; not with the tree.

A server may follow symlinks by itself, so that a folder is met again inside of itself, for ever: one whose number is
that of a folder above it is told and not entered.

Rule of the file: it looks and never reads content.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator

from shared.errors import SkyharborError
from shared.model.backup import Notice
from workers.engine.notices import shown
from workers.engine.ports import Found, Unreadable
from workers.engine.span import Span
from workers.sources.excludes import Excludes
from workers.sources.shares.listing import Asked, Listed, Listing
from workers.sources.shares.stats import FarStat, Node

_BLOCK = 1024
_AHEAD = 48
"""Folders asked for before they are entered, all together,"""
_PER_FOLDER = 12
"""and of those in one folder."""
_LONGEST = 30_000
"""Bytes of a folder's path: what is deeper is made up."""


class _Folder:
    """A folder on the way: what is left of it, and which of its folders can be asked for, both last first."""

    __slots__ = ("ahead", "node", "path", "rows", "waiting")

    def __init__(self, path: bytes, node: Node, rows: list[tuple[bytes, FarStat]], waiting: list[bytes]) -> None:
        self.path = path
        self.node = node
        self.rows = rows
        self.waiting = waiting
        self.ahead = 0


class Walk:
    """One scan below ``top`` (a path of the point; empty for all of the share) within a span."""

    def __init__(self, listing: Listing, top: bytes, excludes: Excludes, span: Span) -> None:
        self._listing = listing
        self._top = top
        self._excludes = excludes
        self._span = span
        self.excluded = 0
        self._asked: dict[bytes, Asked] = {}
        self._stack: list[_Folder] = []
        self._paths: list[bytes] = []
        self._stats: list[FarStat] = []
        self._notices: list[Notice] = []

    def __iter__(self) -> Iterator[Found | Notice]:
        try:
            root = self._look_at_top()
            if self._span.reaches(self._top):
                yield from self._tree(root)
            yield from self._block()
        finally:
            for asked in self._asked.values():
                asked.drop()

    def _look_at_top(self) -> FarStat:
        """Look at the folder to protect and at those above it, and place what belongs here."""
        names = self._top.split(b"/") if self._top else []
        steps = [b"/".join(names[:count]) for count in range(len(names) + 1)]
        found = FarStat(stat.S_IFDIR, 0, 0, 0, 0, 0, 0)
        for path in steps:
            try:
                found = self._listing.look(path)
            except Unreadable as problem:
                code = "source-missing" if problem.notice.code == "vanished" else "source-failed"
                raise SkyharborError(code, f"{shown(path)}: {problem.notice.message}") from problem
            if not stat.S_ISDIR(found.st_mode):
                raise SkyharborError("source-missing", f"{shown(path)} is no folder")
            if path and self._span.holds(path):
                self._place(path, found)
        return found

    def _place(self, path: bytes, info: FarStat) -> None:
        self._paths.append(path)
        self._stats.append(info)

    def _block(self) -> Iterator[Found | Notice]:
        if self._paths:
            yield Found(self._paths, self._stats)
        yield from self._notices
        self._paths, self._stats, self._notices = [], [], []

    def _tree(self, root: FarStat) -> Iterator[Found | Notice]:
        self._enter(self._top, root.node)
        while self._stack:
            folder = self._stack[-1]
            if folder.rows:
                self._step(folder, *folder.rows.pop())
            else:
                self._stack.pop()
            if len(self._paths) >= _BLOCK or self._notices:
                yield from self._block()

    def _step(self, folder: _Folder, name: bytes, info: FarStat) -> None:
        path = folder.path + b"/" + name if folder.path else name
        if self._span.holds(path):
            self._place(path, info)
        if not stat.S_ISDIR(info.st_mode):
            return
        if len(path) > _LONGEST:
            self._notices.append(
                Notice(shown(path), "too-deep", "its path is longer than any server takes; not entered")
            )
            return
        if info.st_ino and any(above.node == info.node for above in self._stack):
            self._notices.append(Notice(shown(path), "loop", "the server shows a folder inside of itself; not entered"))
            asked = self._asked.pop(path, None)
            if asked is not None:
                folder.ahead -= 1
                asked.drop()
            return
        self._enter(path, info.node)

    def _enter(self, path: bytes, node: Node) -> None:
        asked = self._asked.pop(path, None)
        if asked is None:
            asked = self._listing.ask(path)
        elif self._stack:
            self._stack[-1].ahead -= 1
        try:
            listed = asked.listed()
        except Unreadable as problem:
            if path == self._top:
                raise SkyharborError("source-failed", f"{shown(path)}: {problem.notice.message}") from problem
            self._notices.append(problem.notice)
            return
        self._stack.append(self._folder(path, node, listed))
        self._ask_ahead()

    def _folder(self, path: bytes, node: Node, listed: Listed) -> _Folder:
        prefix = path + b"/" if path else b""
        rows = self._listing.finished(path, [row for row in listed.rows if self._wanted(prefix + row[0], row[1])])
        rows.sort(key=lambda row: row[0], reverse=True)
        self._notices += [
            notice for notice in listed.notices if not self._excludes.cover(notice.path.encode(), directory=False)
        ]
        waiting = [prefix + name for name, info in rows if stat.S_ISDIR(info.st_mode)]
        return _Folder(path, node, rows, waiting)

    def _wanted(self, path: bytes, info: FarStat) -> bool:
        if self._excludes.cover(b"/" + path, directory=stat.S_ISDIR(info.st_mode)):
            self.excluded += self._span.holds(path)
            return False
        return self._span.everything or self._span.reaches(path)

    def _ask_ahead(self) -> None:
        """Ask for the folders that come next: those of the deepest folder first."""
        for folder in reversed(self._stack):
            while folder.waiting and folder.ahead < _PER_FOLDER:
                if len(self._asked) >= _AHEAD:
                    return
                path = folder.waiting.pop()
                if self._is_behind(folder, path):
                    self._asked[path] = self._listing.ask(path)
                    folder.ahead += 1

    def _is_behind(self, folder: _Folder, path: bytes) -> bool:
        """Tell whether the walk has still to come to a folder's sub-folder."""
        return bool(folder.rows) and path.rpartition(b"/")[2] >= folder.rows[-1][0]
