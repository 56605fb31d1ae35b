"""What a scan has to look at, by what the journal knows: directories as device and inode.

Events tell of directories by handle, wherever these are by now. A scan comes from above, so it also has to go through
the directories above them, up to the root of the machine, and above everything that is mounted: what is shown at
another place as well has its way there.

Rule of the file: what cannot be resolved is a gap.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress

import msgspec

from shared.decoders import msgpack_decoder
from workers.sources.journal.fanotify import open_node
from workers.sources.journal.messages import Happened
from workers.sources.journal.mount_table import Layout, Mount

Key = tuple[int, int]
"""Device and inode of a directory."""

_STEP = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """``look``: directories to scan; ``fresh``: with all below. Others that are on ``devices`` are as they were.

    ``doubtful`` are inode numbers of nodes, other than directories, that may have changed under whatever name.
    ``snapshots`` are device numbers of snapshots, with that of what each is of.
    """

    look: frozenset[Key] = frozenset()
    fresh: frozenset[Key] = frozenset()
    doubtful: frozenset[int] = frozenset()
    devices: frozenset[int] = frozenset()
    snapshots: dict[int, int] = {}

    def key(self, device: int, inode: int) -> Key:
        """Return how a directory that a scan met is called here."""
        return (self.snapshots.get(device, device), inode)


def write_changes(path: str, changes: Changes) -> None:
    """Write them where the source that this process opens will read them."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
        file.write(msgspec.msgpack.encode(changes))


def read_changes(path: str) -> Changes:
    """Read what ``write_changes`` wrote."""
    with open(path, "rb") as file:
        return msgpack_decoder(Changes).decode(file.read())


class Gap(Exception):
    """It is not known what has changed; the text says why."""


def resolved(
    happened: Happened, layout: Layout, mounts: Sequence[Mount], *, doubtful: Iterable[int], also: Iterable[bytes]
) -> Changes:
    """Return what a scan has to look at. ``also`` are absolute paths to look at in any case. Raises ``Gap``."""
    finding = _Finding(mounts)
    fresh = finding.found(happened.fresh)
    finding.found(happened.folders)
    for mount in layout.mounts:
        finding.way_to(os.fsencode(os.path.dirname(mount.path)))
    for noted in also:
        finding.way_to(noted)
    devices = set()
    for path in layout.trusted:
        with suppress(OSError):
            devices.add(os.lstat(path).st_dev)
    return Changes(
        look=frozenset(finding.look),
        fresh=frozenset(fresh),
        doubtful=frozenset(happened.inodes).union(doubtful),
        devices=frozenset(devices),
    )


class _Finding:
    """Finds directories, and all that are above them, into ``look``."""

    def __init__(self, mounts: Sequence[Mount]) -> None:
        self.look: set[Key] = set()
        self._mounts = mounts

    def found(self, nodes: Iterable[tuple[int, bytes]]) -> set[Key]:
        """Return the directories with these handles that still are."""
        found = set()
        with ExitStack() as opened:
            known: dict[int, list[int]] = {}
            for device, handle in nodes:
                if device not in known:
                    known[device] = self._open_mounts(device, opened)
                key = self._find(known[device], handle)
                if key is not None:
                    found.add(key)
        return found

    def way_to(self, path: bytes) -> None:
        """Look at a directory by path and at all above it; one that is not there is looked for above."""
        while path not in (b"", b"/"):
            with suppress(OSError):
                info = os.lstat(path)
                self.look.add((info.st_dev, info.st_ino))
            path = path.rpartition(b"/")[0]

    def _open_mounts(self, device: int, opened: ExitStack) -> list[int]:
        """Open every place where a file system is mounted, those that show most of it first."""
        found = []
        for mount in sorted(self._mounts, key=lambda one: len(one.root)):
            if mount.device != device:
                continue
            try:
                fd = os.open(mount.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            except OSError:
                continue
            opened.callback(os.close, fd)
            if _mount_id(fd) == mount.id:  # another one may be mounted above it
                found.append(fd)
        if not found:
            raise Gap("a file system that was watched is mounted nowhere")
        return found

    def _find(self, mounts: Sequence[int], handle: bytes) -> Key | None:
        for mount in mounts:
            try:
                fd = open_node(mount, handle)
            except OSError as error:
                if error.errno == errno.ESTALE:
                    return None  # gone, which is an event of the directory above it
                raise Gap(f"a changed directory could not be found: {error.strerror}") from error
            key = self._climb(fd)
            if key is not None:
                return key
        raise Gap("a changed directory is in no mounted part of its file system")

    def _climb(self, fd: int) -> Key | None:
        """Note a directory and all above it; closes it. None when it is not in the mounted part of its file system."""
        way: list[Key] = []
        try:
            while True:
                info = os.fstat(fd)
                key = (info.st_dev, info.st_ino)
                if way and (key in self.look or key == way[-1]):
                    break  # what is above has been noted, or this is the root of all
                way.append(key)
                if info.st_nlink == 0:
                    break
                above = os.open(b"..", _STEP, dir_fd=fd)
                os.close(fd)
                fd = above
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Gap(f"the way to a changed directory is barred: {error.strerror}") from error
        finally:
            os.close(fd)
        self.look.update(way)
        return way[0]


def _mount_id(fd: int) -> int:
    with open(f"/proc/self/fdinfo/{fd}") as lines:
        for line in lines:
            if line.startswith("mnt_id:"):
                return int(line.split()[1])
    return -1
