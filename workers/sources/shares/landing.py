"""Brings a recovery point, or a part of it, back to a far server.

One thread goes through the entries in order and makes folders; a few others write files, each with its own connection.
Folders get their attributes when what is in them is there, some hundred at a time. Further names of a node (hard links)
are added, where a server has some, to a node that this restore has made and to no other; where there is none, the first
of them gets the content.

What happens when it dies: no half file under a real name; running the same restore again completes it.

Rule of the file: order and outcome; how nodes are made is the workload's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from shared.contracts.work import Progress, RestoreDone, RestoreInstruction
from shared.errors import SkyharborError
from shared.model.backup import ConflictRule, RestoreStats
from shared.vault.entry import Entry, EntryKind
from shared.vault.reader import PointReader
from workers.engine.landing import is_safe
from workers.engine.notices import Notices
from workers.engine.ports import Control, Stop, StopReason
from workers.engine.selection import Selection
from workers.sources.shares.target import FarMaker, FarTarget, Landed, NotDone

_WRITERS = 4
_UNDER_WAY = 16
_LEFT = 256
_PATIENCE = 0.2
_BAD_OBJECT = frozenset({"object-missing", "object-damaged"})


@dataclass(slots=True)
class _Level:
    """A folder on the way: its path in the point, and on the server (None: nothing below it can land)."""

    path: bytes
    where: bytes | None
    entry: Entry | None = None


class _Node(NamedTuple):
    """A node that lands: its entry, and the folder on the server and the name for it."""

    entry: Entry
    folder: bytes
    name: bytes


class FarLanding:
    """One restore. ``base`` is the folder on the server that paths of the point are joined to."""

    def __init__(
        self,
        target: FarTarget,
        reader: PointReader,
        instruction: RestoreInstruction,
        *,
        base: bytes,
        control: Control,
    ) -> None:
        self._target = target
        self._maker = target if isinstance(target, FarMaker) else None
        self._reader = reader
        self._base = base
        self._selection = Selection(reader, instruction.paths)
        self._rule = instruction.conflict
        self._control = control
        self._notices = Notices()
        self._stats = RestoreStats()
        self._levels = [_Level(b"", base)]
        self._left: list[_Level] = []
        self._calls: deque[tuple[_Node, Future[Landed]]] = deque()
        # Nodes with further names: the paths of their first ones, where those are that were made, and what waits.
        self._firsts: frozenset[bytes] = frozenset()
        self._made_firsts: dict[bytes, bytes] = {}
        self._further: list[_Node] = []
        self._stopping = False

    def fly(self) -> RestoreDone:
        """Restore and tell.

        Raises ``target-invalid``, ``target-unreachable``, ``target-full``, ``Stop`` and the store's errors.
        """
        before = self._reader.bytes_read
        pool = ThreadPoolExecutor(_WRITERS, thread_name_prefix="landing")
        try:
            self._make_base()
            if self._maker is not None:
                self._firsts = frozenset(
                    entry.link for entry in self._selection.entries() if isinstance(entry, Entry) and entry.link
                )
            for entry in self._selection.entries():
                self._take(entry, pool)
                self._control.check()
            self._leave_for(b"")
            self._dress()
        finally:
            self._stopping = True
            pool.shutdown(cancel_futures=True)
        self._stats.bytes_read = self._reader.bytes_read - before
        self._stats.warnings = self._notices.count
        return RestoreDone(stats=self._stats, warnings=self._notices.listed())

    def _make_base(self) -> None:
        parts = self._base.split(b"/") if self._base else []
        try:
            for count in range(1, len(parts) + 1):
                self._target.make_folder(b"/".join(parts[:count]))
        except NotDone as problem:
            where = self._base.decode("utf-8", "backslashreplace")
            raise SkyharborError("target-invalid", f"{where}: {problem}") from problem

    def _take(self, entry: Entry | SkyharborError, pool: ThreadPoolExecutor) -> None:
        if isinstance(entry, SkyharborError):
            self._notices.say(b"", "damaged", f"some entries of the point cannot be read: {entry.detail}")
            return
        if not is_safe(entry.path):
            self._notices.say(entry.path, "refused-path", "this path leads outside of the target; it was not restored")
            return
        self._leave_for(entry.path)
        parent, name = self._parent(entry.path)
        if parent is None:
            self._stats.files_skipped += entry.kind != EntryKind.DIRECTORY
        elif entry.kind == EntryKind.DIRECTORY:
            self._enter(entry, _joined(parent, name))
        elif entry.link and self._maker is not None:
            self._further.append(_Node(entry, parent, name))
            if len(self._further) >= _LEFT:
                self._add_names(self._maker)
        elif entry.kind in (EntryKind.FILE, EntryKind.SYMLINK) or self._maker is not None:
            self._await_room(_UNDER_WAY - 1)
            node = _Node(entry, parent, name)
            self._calls.append((node, pool.submit(self._make, node)))
        else:
            self._notices.say(entry.path, "special-not-created", "such a node cannot be made there")

    def _parent(self, path: bytes) -> tuple[bytes | None, bytes]:
        """Return where a node lands and its name; folders that the point does not describe are made on the way."""
        parent, _, name = path.rpartition(b"/")
        top = self._levels[-1]
        if top.path != parent:
            for part in parent[len(top.path) :].strip(b"/").split(b"/"):
                above = self._levels[-1]
                where = None if above.where is None else _joined(above.where, part)
                self._levels.append(_Level(_joined(above.path, part), self._made(path, where)[0]))
        return self._levels[-1].where, name

    def _made(self, path: bytes, where: bytes | None) -> tuple[bytes | None, bool]:
        if where is None:
            return None, False
        try:
            return where, self._target.make_folder(where)
        except NotDone as problem:
            self._notices.say(path, "target-conflict", str(problem))
            return None, False

    def _enter(self, entry: Entry, where: bytes) -> None:
        there, new = self._made(entry.path, where)
        only_above = self._selection.is_only_above(entry.path)
        dressed = new or (self._rule is ConflictRule.OVERWRITE and not only_above)
        self._levels.append(_Level(entry.path, there, entry if dressed else None))
        self._stats.directories_restored += there is not None

    def _leave_for(self, path: bytes) -> None:
        while len(self._levels) > 1 and not path.startswith(self._levels[-1].path + b"/"):
            level = self._levels.pop()
            if level.entry is not None and level.where is not None:
                self._left.append(level)
        if len(self._left) >= _LEFT:
            self._dress()

    def _dress(self) -> None:
        """Give the folders that were left their attributes, once all that is in them is there."""
        self._await_room(0)
        if self._maker is not None:
            self._add_names(self._maker)
        left, self._left = self._left, []
        for level in left:
            if level.entry is None or level.where is None:
                continue
            self._control.check()
            try:
                lost = self._target.dress_folder(level.where, level.entry)
            except NotDone as problem:
                lost = [f"attributes ({problem})"]
            if lost:
                self._notices.say(level.path, "metadata-not-kept", ", ".join(lost))

    def _add_names(self, maker: FarMaker) -> None:
        """Add the further names that wait, once their nodes are there."""
        self._await_room(0)
        further, self._further = self._further, []
        for node in further:
            self._control.check()
            self._settle(node, lambda node=node: self._named(maker, node))  # type: ignore[misc]

    def _named(self, maker: FarMaker, node: _Node) -> Landed:
        first = self._made_firsts.get(node.entry.link)
        if first is not None:
            return maker.further_name(first, node.folder, node.name, self._rule)
        content = next(self._reader.entries_or_errors(node.entry.link), None)
        if not isinstance(content, Entry) or content.path != node.entry.link or content.link:
            raise SkyharborError("object-damaged", "the point does not have the node's content")
        landed = self._make(node._replace(entry=msgspec.structs.replace(content, path=node.entry.path)))
        if landed.name is not None:
            self._made_firsts[node.entry.link] = _joined(node.folder, landed.name)
        return landed

    def _make(self, node: _Node) -> Landed:
        entry, folder, name = node
        self._check()
        if self._rule is ConflictRule.SKIP and self._target.exists(_joined(folder, name)):
            return Landed(None, [])
        if entry.kind == EntryKind.SYMLINK:
            return self._target.link(folder, name, entry, self._rule)
        if entry.kind != EntryKind.FILE and self._maker is not None:
            return self._maker.special(folder, name, entry, self._rule)
        return self._target.write(
            folder, name, entry, lambda: self._reader.read_chunks(entry.chunks), self._rule, self._check
        )

    def _check(self) -> None:
        if self._stopping:
            raise Stop(StopReason.LOST)

    def _await_room(self, most: int) -> None:
        while len(self._calls) > most:
            node, call = self._calls.popleft()
            while not call.done():
                wait_for([call], timeout=_PATIENCE)
                self._control.check()
            self._settle(node, call.result)
            self._report()

    def _settle(self, node: _Node, landing: Callable[[], Landed]) -> None:
        entry = node.entry
        try:
            landed = landing()
        except NotDone as problem:
            self._notices.say(entry.path, "not-restored", str(problem))
            return
        except SkyharborError as error:
            if error.code not in _BAD_OBJECT:
                raise
            self._notices.say(entry.path, "damaged", error.detail)
            return
        if landed.name is None:
            self._stats.files_skipped += 1
            return
        if entry.path in self._firsts:
            self._made_firsts[entry.path] = _joined(node.folder, landed.name)
        if landed.lost:
            self._notices.say(entry.path, "metadata-not-kept", ", ".join(landed.lost))
        self._stats.files_restored += 1
        self._stats.bytes_restored += entry.size if entry.kind == EntryKind.FILE else 0

    def _report(self) -> None:
        stats, body, whole = self._stats, self._reader.body, self._selection.everything
        self._control.progress(
            Progress(
                phase="restoring",
                files_done=stats.files_restored + stats.files_skipped,
                files_total=body.files if whole else 0,
                bytes_done=stats.bytes_restored,
                bytes_total=body.bytes if whole else 0,
                bytes_transferred=self._reader.bytes_read,
            )
        )


def _joined(folder: bytes, name: bytes) -> bytes:
    return folder + b"/" + name if folder else name
