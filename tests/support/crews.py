"""Crews of every kind over one rig, and ways to be there when something happens in them.

Rule of the file: a kind of crew is a word of ``KINDS``; what a test does with it is the same for all of them.
"""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager

from shared.clock import SystemClock
from shared.contracts.sources import FilesSource
from shared.crypto.domain_keys import DomainKeys
from shared.model.backup import ConflictRule
from shared.model.bandwidth import BandwidthPlan
from shared.storage.local import LocalStore
from shared.vault.writer import PointWriter
from shared.waiting import readable
from tests.support.held import reading_of
from tests.unit.engine.rig import Rig
from workers.crew.chief import Chief
from workers.crew.messages import BackupWork, RestoreWork
from workers.crew.processes import ReadingProcesses, WritingProcesses
from workers.engine.crew import ReadingThreads, WritingThreads
from workers.engine.file_writing import FileWriting
from workers.engine.folders import Folders
from workers.engine.ports import Found
from workers.engine.reading import FileReading
from workers.engine.seen import entry_of
from workers.engine.span import EVERYTHING
from workers.settings import hands_environment
from workers.sources.files import FilesAdapter

KINDS = ("threads", "processes")
HANDS = 2
DEK = b"k" * 32


class Bench:
    """A rig over a vault in a folder, whose points are read and restored by one kind of crew."""

    def __init__(self, folder, kind, chief, *, rig=None):
        self.url = f"file://{folder}"
        self.rig = rig or Rig(LocalStore.create(str(folder)))
        self._throttle = f"{folder}.throttle"
        self.crews = []
        """Every crew that has been mustered."""
        self._kind = kind
        self._chief = chief

    def backup(self, *paths, on_reserve=None, after_scan=None, before_open=None, **options):
        """Back up like ``Rig.backup``. The acts are done once all is scanned, before the flow opens a file, and with
        its number before a reservation of the crew is answered."""
        files = FilesSource(paths=paths, excludes=())
        source = _Staged(files, after_scan, before_open)
        readers = self.readers(files, on_reserve)
        return self.rig.backup(*paths, source=source, muster=lambda _, writer: readers(writer), **options)

    def readers(self, files, on_reserve=None, **work):
        """Return what brings a crew that reads; ``work`` replaces fields of what its hands are told."""

        def muster(writer):
            tap = Tap(writer, on_reserve)
            if self._kind == "threads":
                reading = FileReading(FilesAdapter(files), self.rig.keys, tap, SystemClock())
                crew = ReadingThreads(reading, count=HANDS)
            else:
                crew = ReadingProcesses(self._chief, self._backup_work(files, **work), tap, count=HANDS)
            return self._watched(crew)

        return muster

    def _backup_work(self, files, **other):
        fields = {
            "vault_url": self.url,
            "throttle": self._throttle,
            "bandwidth": BandwidthPlan(),
            "vault": self.rig.vault.header,
            "dek": DEK,
            "reading": reading_of(files),
            "zstd_level": 3,
        }
        return BackupWork(**{**fields, **other})

    def restore(self, target, *paths, conflict=ConflictRule.SKIP, **options):
        """Restore like ``Rig.restore``, which brings threads itself."""
        muster = self.writers(self.rig.reader(), conflict) if self._kind == "processes" else None
        return self.rig.restore(target, *paths, conflict=conflict, muster=muster, **options)

    def writers(self, reader, rule=ConflictRule.SKIP, **work):
        """Return what brings a crew that writes files of a point."""

        def muster(finder, target, node):
            if self._kind == "threads":
                folders = Folders(os.open(target, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
                crew = _Closing(WritingThreads(FileWriting(reader.chunks, folders, rule), count=HANDS), folders)
            else:
                told = self._restore_work(target, rule, **{"node": node, **work})
                crew = WritingProcesses(self._chief, told, finder, count=HANDS)
            return self._watched(crew)

        return muster

    def _restore_work(self, target, rule, **other):
        fields = {
            "vault_url": self.url,
            "throttle": self._throttle,
            "bandwidth": BandwidthPlan(),
            "vault": self.rig.vault.header,
            "dek": DEK,
            "target": target,
            "rule": rule,
        }
        return RestoreWork(**{**fields, **other})

    def _watched(self, crew):
        watched = Watched(crew)
        self.crews.append(watched)
        return watched

    def writer(self, point_id="point"):
        """Return a writer of a new point."""
        return PointWriter(
            self.rig.vault,
            DomainKeys.derive(DEK),
            self.rig.index(),
            machine_id="machine",
            item_id="item",
            point_id=point_id,
        )


class Tap:
    """Stands between a crew and the writer of its point."""

    def __init__(self, writer, on_reserve=None):
        self._writer = writer
        self._on_reserve = on_reserve
        self._lock = threading.Lock()
        self.reservations = 0

    def __getattr__(self, name):
        return getattr(self._writer, name)

    def reserve(self, ids):
        with self._lock:
            self.reservations += 1
            if self._on_reserve:
                self._on_reserve(self.reservations)
        return self._writer.reserve(ids)


class Watched:
    """A crew whose calls are remembered."""

    def __init__(self, inner):
        self._inner = inner
        self.calls = []

    def __getattr__(self, name):
        method = getattr(self._inner, name)
        if not callable(method):
            return method

        def called(*args, **options):
            self.calls.append(name)
            return method(*args, **options)

        return called


class _Closing:
    """Threads that write, and the folders that were opened for them here."""

    def __init__(self, inner, folders):
        self._inner, self._folders = inner, folders

    def __getattr__(self, name):
        return getattr(self._inner, name)

    def close(self):
        self._inner.close()
        if self._folders:
            self._folders.close()
            self._folders = None


class _Staged:
    """The files of a source, with somebody who does something between the acts."""

    def __init__(self, files, after_scan, before_open):
        self._inner = FilesAdapter(files)
        self._after_scan, self._before_open = after_scan, before_open

    def __getattr__(self, name):
        return getattr(self._inner, name)

    def scan(self, span=EVERYTHING):
        yield from self._inner.scan(span)
        if self._after_scan:
            self._after_scan()

    def open(self, entry):
        if self._before_open:
            self._before_open(entry)
        return self._inner.open(entry)


def scanned(*paths):
    """Return what a scan meets, as entries that are to be read."""
    blocks = [block for block in FilesAdapter(FilesSource(paths=paths, excludes=())).scan() if isinstance(block, Found)]
    return [entry_of(path, stat) for block in blocks for path, stat in zip(block.paths, block.stats, strict=True)]


@contextmanager
def running_chief():
    """A chief as a worker has one."""
    chief = Chief(hands_environment())
    try:
        yield chief
    finally:
        chief.close()


def children(pid):
    """Return the living processes that a process has started."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            return [child for child in map(int, file.read().split()) if _state(child) not in "ZX"]
    except OSError:
        return []


def chiefs(pid=None):
    """Return the chiefs of a worker process, this one by default."""
    return [child for child in children(pid or os.getpid()) if b"workers.hands" in _command(child)]


def hands(pid=None):
    """Return the hands of a worker process, this one by default."""
    return [hand for chief in chiefs(pid) for hand in children(chief)]


def left():
    """Return the hands that do not end. (One that has let go of its line is an instant away from its end.)"""
    return ended(hands())


def ended(pids, *, within=20.0):
    """Wait until these processes have ended, zombies being ended too, and return those that have not."""
    return [pid for pid in pids if not _ends(pid, within)]


def _ends(pid, seconds):
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(readable(fd, seconds=seconds))
    finally:
        os.close(fd)


def _state(pid):
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0].decode()
    except OSError:
        return "X"


def _command(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read()
    except OSError:
        return b""
