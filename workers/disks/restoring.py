"""Brings files out of the disks of a point into a folder, with what a restore of files gives them.

What happens when it dies: no half file under a real name, and the same restore again completes it, as with
``workers.engine.restore``. A file that cannot be read is a notice; nothing of it is left.

Rule of the file: the order of a restore and its outcome; what is made is made by the engine's landing and placing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress

from shared.contracts.work import Progress, RestoreDone
from shared.errors import SkyharborError
from shared.model.backup import ConflictRule, RestoreStats
from shared.vault.entry import Entry, EntryKind, sort_key
from shared.vault.reader import PointReader
from workers.disks.browser import Browser, Found, Gap, Stretch, leads_inside
from workers.disks.parser import UNREADABLE
from workers.engine.attributes import dress
from workers.engine.file_writing import Written, raise_if_full
from workers.engine.folders import Folders
from workers.engine.landing import Landing, Spot, is_safe
from workers.engine.node_flags import FIRST, LAST, set_flags
from workers.engine.notices import Notices, reason
from workers.engine.placing import NewFile, place
from workers.engine.ports import Control

_DAMAGE = frozenset({UNREADABLE, "object-damaged", "object-missing"})
_REPORT_EVERY = 256


def restore_out_of_disks(
    reader: PointReader, *, target: str, paths: Sequence[str], conflict: ConflictRule, control: Control
) -> RestoreDone:
    """Restore ``paths`` such as ``/disk0/p1/etc`` to ``target`` joined with their path; each may be a whole area.

    Raises ``path-not-in-point`` before anything is written, ``disk-unreadable`` when nothing of it can be read
    at all, ``target-invalid``, ``target-full``, ``Stop`` when the control says so, and the store's errors.
    """
    asked = _outermost({os.fsencode(path).strip(b"/") for path in paths})
    with Browser(reader, check=control.check) as browser:
        ways = [way for path in asked for way in _ways(browser, path)]
        folders = Folders(_open_target(target))
        try:
            return _Run(reader, browser, folders, conflict, control).fly(ways)
        finally:
            folders.close()


def split(reader: PointReader, paths: Sequence[str]) -> tuple[list[str], list[str]]:
    """Part paths that lead into disks of the point from the others, for which they are just files."""
    inside = [path for path in paths if leads_inside(reader, os.fsencode(path).strip(b"/"))]
    return inside, [path for path in paths if path not in inside]


def _ways(browser: Browser, path: bytes) -> list[list[Found]]:
    """Return the nodes on the way to a path; of a disk, those to each of its areas that can be read."""
    if b"/" in path:
        return [browser.find(path)]
    areas = browser.areas_at(path)
    ways = [browser.find(area.path) for area in areas if not area.info.trouble]
    if not ways:
        told = "; ".join(f"{area.info.name}: {area.info.trouble}" for area in areas) or "it has no partitions"
        raise SkyharborError(UNREADABLE, f"nothing of {os.fsdecode(path)} can be browsed: {told}")
    return ways


def _outermost(paths: set[bytes]) -> list[bytes]:
    tops: list[bytes] = []
    for path in sorted(paths, key=sort_key):
        if not tops or not path.startswith(tops[-1] + b"/"):
            tops.append(path)
    return tops


def _open_target(target: str) -> int:
    if not os.path.isabs(target):
        raise SkyharborError("target-invalid", f"{target} is not an absolute path")
    try:
        os.makedirs(target, exist_ok=True)
        return os.open(target, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise_if_full(error)
        raise SkyharborError("target-invalid", f"{target}: {reason(error)}") from error


class _Run:
    def __init__(
        self, reader: PointReader, browser: Browser, folders: Folders, rule: ConflictRule, control: Control
    ) -> None:
        self._reader, self._browser, self._folders = reader, browser, folders
        self._rule, self._control = rule, control
        self._notices, self._stats = Notices(), RestoreStats()
        self._landing = Landing(folders, rule, self._notices, self._stats)
        # By area and number: where a node that has several names was made by this run.
        self._homes: dict[tuple[int, int], Spot] = {}
        self._since = 0

    def fly(self, ways: Sequence[Sequence[Found]]) -> RestoreDone:
        """Restore and tell."""
        before = self._reader.bytes_read
        told: set[bytes] = set()
        for way in ways:
            self._tell_notes(way[0])
            for above in way[:-1]:
                if above.entry.path not in told:
                    told.add(above.entry.path)
                    self._enter(above, only_above=True)
            for one in self._browser.walk(way[-1], full=True):
                self._take(one)
        for action in self._landing.leave_all():
            action()
        self._landing.close_to_changes()
        self._stats.bytes_read = self._reader.bytes_read - before
        self._stats.warnings = self._notices.count
        self._report()
        return RestoreDone(stats=self._stats, warnings=self._notices.listed())

    def _tell_notes(self, root: Found) -> None:
        for text in self._browser.notes(root.area):
            self._notices.say(root.area.path, "not-at-rest", text)

    def _take(self, one: Found | Gap) -> None:
        self._control.check()
        if isinstance(one, Gap):
            self._notices.say(one.path, "damaged", one.text)
            return
        if not is_safe(one.entry.path):
            self._notices.say(one.entry.path, "refused-path", "this path leads outside of the target")
            return
        if one.lost:
            self._notices.say(one.entry.path, "metadata-not-kept", one.lost)
        if one.entry.kind == EntryKind.DIRECTORY:
            self._enter(one, only_above=False)
        else:
            self._leave_for(one.entry.path)
            self._land(one)
        self._since += 1
        if self._since >= _REPORT_EVERY:
            self._report()

    def _enter(self, folder: Found, *, only_above: bool) -> None:
        self._leave_for(folder.entry.path)
        self._landing.directory(folder.entry, only_above=only_above)

    def _leave_for(self, path: bytes) -> None:
        for action in self._landing.leave_for(path):
            action()

    def _land(self, one: Found) -> None:
        entry = one.entry
        spot = self._landing.spot(entry.path)
        if spot is None:
            self._stats.files_skipped += 1
            return
        if one.trouble:
            self._notices.say(entry.path, "not-restored", one.trouble)
            return
        key = (entry.device, entry.inode)
        home = self._homes.get(key)
        if home is not None and self._link(entry, home, spot):
            return
        made = self._write(one, spot) if entry.kind == EntryKind.FILE else self._landing.special(entry, *spot)
        if made is not None and one.links > 1:
            self._homes[key] = spot[0], made

    def _link(self, entry: Entry, home: Spot, spot: Spot) -> bool:
        """Add a name to a node that this run has made; False when it cannot have one more."""

        def make(name: bytes) -> None:
            os.link(home[1], name, src_dir_fd=there, dst_dir_fd=here, follow_symlinks=False)

        try:
            with self._folders.held(home[0]) as there, self._folders.held(spot[0]) as here:
                self._landing.count(place(here, spot[1], self._rule, make))
        except IsADirectoryError:
            self._notices.say(entry.path, "target-conflict", "a directory of this name is in the way")
        except OSError as error:
            raise_if_full(error)
            return False
        return True

    def _write(self, one: Found, spot: Spot) -> bytes | None:
        """Write a file and return the name that it got; None when there is no new one."""
        entry = one.entry
        try:
            with self._folders.held(spot[0]) as folder:
                if self._rule is ConflictRule.SKIP and _is_there(folder, spot[1]):
                    self._stats.files_skipped += 1
                    return None
                name = self._make(folder, spot[1], one)
        except IsADirectoryError:
            self._notices.say(entry.path, "target-conflict", "a directory of this name is in the way")
        except SkyharborError as error:
            if error.code not in _DAMAGE:
                raise
            self._notices.say(entry.path, "damaged", error.detail)
        except OSError as error:
            raise_if_full(error)
            self._notices.say(entry.path, "not-restored", reason(error))
        else:
            self._landing.count(name)
            if name is not None:
                self._stats.bytes_restored += entry.size
                self._landing.note(_written(entry, spot, name))
            return name
        return None

    def _make(self, folder: int, name: bytes, one: Found) -> bytes | None:
        entry = one.entry
        new = NewFile(folder)
        try:
            lost = set_flags(new.fd, entry.flags & FIRST) if entry.flags & FIRST else []
            self._fill(new.fd, entry.size, self._browser.content(one))
            lost += dress(new.fd, entry, os.fstat(new.fd))
            made = place(folder, name, self._rule, new.publish)
        finally:
            new.close()
        if lost and made is not None:
            self._notices.say(entry.path, "metadata-not-kept", ", ".join(lost))
        return made

    def _fill(self, fd: int, size: int, stretches: Iterator[Stretch]) -> None:
        for stretch in stretches:
            self._control.check()
            if stretch.data is not None:
                done = 0
                view = memoryview(stretch.data)
                while done < len(view):
                    done += os.pwrite(fd, view[done:], stretch.offset + done)
        os.ftruncate(fd, size)

    def _report(self) -> None:
        self._since = 0
        stats = self._stats
        self._control.progress(
            Progress(
                phase="restoring",
                files_done=stats.files_restored + stats.files_skipped,
                bytes_done=stats.bytes_restored,
                bytes_transferred=self._reader.bytes_read,
            )
        )


def _written(entry: Entry, spot: Spot, name: bytes) -> Written:
    """Say of a file what the landing has to know: another name, flags that forbid changes and come last of all."""
    renamed = [(entry.path, spot[0], name)] if name != spot[1] else []
    closing = [(entry.path, spot[0], name, entry.flags & LAST)] if entry.flags & LAST else []
    return Written(files=1, size=entry.size, renamed=renamed, closing=closing)


def _is_there(folder: int, name: bytes) -> bool:
    with suppress(OSError):
        os.stat(name, dir_fd=folder, follow_symlinks=False)
        return True
    return False
