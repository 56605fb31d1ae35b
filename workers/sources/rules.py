"""What of an item's paths is left out: the one place that says what each rule means.

- *Patterns* (``excludes``): a node whose path a glob covers; see ``excludes`` for the globs.
- *Caches*: in a directory that holds a ``CACHEDIR.TAG`` with the standard signature, everything but the tag. As the
  standard says, the tag has to be a regular file: a symlink with that name is none.
- *If present*: in a directory that holds a node of one of these names, of whatever kind, everything but that node; one
  that is a directory stays as an empty one. Several tags of a directory all stay, also beside that of a cache: what
  comes back from a restore is left out again.
- *Nodump*: a file or directory with the attribute of ``chattr +d``. It is asked for with an ``open`` and an ``ioctl``
  per file and directory, and only under this rule.
- *Larger than*: a regular file of more bytes than that by its size, holes and all, when the scan looks at it.
- *One file system*: what is in a directory on another device than the one above it, such as a mount point or a btrfs
  subvolume; the directory itself stays, empty. Another device is what tells, so a bind mount of the same file system is
  entered. Only directories are judged: overlay file systems show files with devices of their own.

A node is left out when any rule says so, and a directory with everything below it. No rule applies to a path that
somebody has given for the item, nor to what leads there: of a directory that would be left out, only the way to the
given paths below it is kept. In doubt a node is protected: a tag that vanishes, cannot be read or is cut short is no
tag, and the attributes of a file that cannot be opened are none.

What a rule leaves out is counted (one for a directory, whatever it holds) and never a warning. When the rules of an
item change, the next backup compares as always: what is left out now counts as removed, what no longer is as new.

Rule of the file: it decides and counts; walking is ``walk``'s. What can be decided once per directory is decided there.
"""

from __future__ import annotations

import os
import stat
from bisect import bisect_left
from collections.abc import Sequence

from shared.contracts.sources import FilesSource
from shared.vault.node_flags import NodeFlag
from workers.engine.node_flags import read_flags
from workers.engine.notices import unreadable
from workers.sources.excludes import Excludes

TAG = b"CACHEDIR.TAG"
SIGNATURE = b"Signature: 8a477f597d28d172789f06886806bc55"
"""With what the tag begins: https://bford.info/cachedir/."""

_FILE, _DIRECTORY = stat.S_IFREG, stat.S_IFDIR
_OPEN = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY


class Rules:
    """The rules of one item for one scan. ``given`` are the paths that somebody named (absolute, raw).

    Raises ``bad-request`` for a pattern that means nothing.
    """

    __slots__ = (
        "_caches",
        "_excludes",
        "_given",
        "_larger_than",
        "_leading",
        "_nodump",
        "_one_file_system",
        "_only_way",
        "_tags",
        "excluded",
        "judge_folders",
        "judge_nodes",
    )

    def __init__(self, source: FilesSource, given: Sequence[bytes] = ()) -> None:
        rules = source.rules
        self._excludes = Excludes(source.excludes)
        self._caches, self._nodump, self._one_file_system = rules.caches, rules.nodump, rules.one_file_system
        self._tags = [os.fsencode(name) for name in rules.if_present]
        self._larger_than = rules.larger_than
        self._given = {path.strip(b"/") for path in given}
        self._leading = _above(self._given)
        # Directories of which only the way to given paths is followed, until they are entered.
        self._only_way: set[bytes] = set()
        self.judge_nodes = not self._excludes.empty or self._nodump or self._larger_than is not None
        """Whether ``leave_out`` has to be asked."""
        self.judge_folders = self.judge_nodes or self._caches or bool(self._tags) or self._one_file_system
        """Whether ``kept`` has to be asked."""
        self.excluded = 0
        """How many nodes were left out."""

    def leave_out(self, path: bytes, info: os.stat_result, name: bytes, folder: int) -> bool:
        """Decide about a node that the scan met in the directory that is open as ``folder``; count it if it goes.

        ``source-failed`` when this machine has run out of descriptors or memory.
        """
        kind = info.st_mode & 0o170000
        if not (
            self._excludes.cover(b"/" + path, directory=kind == _DIRECTORY)
            or (self._larger_than is not None and info.st_size > self._larger_than and kind == _FILE)
            or (self._nodump and kind in (_FILE, _DIRECTORY) and _is_nodump(path, name, folder))
        ):
            return False
        return self._count(path)

    def leave_out_unseen(self, path: bytes) -> bool:
        """Decide about a node that could not be looked at, so that all there is of it is its path; count it."""
        return self._excludes.cover(b"/" + path, directory=False) and self._count(path)

    def stay_out(self, path: bytes) -> bool:
        """Decide about a directory on another device than the one above it; count its content if it stays empty."""
        return self._one_file_system and self._count(path)

    def kept(self, path: bytes, names: list[bytes], folder: int) -> list[bytes]:
        """Return which of a directory's names (sorted) are looked at, in order; count the others.

        ``folder`` is its descriptor.
        """
        if path in self._only_way:
            self._only_way.discard(path)
            stay: set[bytes] = set()
        elif path in self._given:
            return names
        else:
            stay = self._tags_in(path, names, folder)
            if not stay:
                return names
        prefix = path + b"/" if path else b""
        kept = [name for name in names if name in stay or self._leads(prefix + name)]
        self._only_way.update(prefix + name for name in kept if prefix + name not in self._given)
        self.excluded += len(names) - len(kept)
        return kept

    def _count(self, path: bytes) -> bool:
        """Count a node that a rule covers and return True, unless it was given or leads to what was."""
        if path in self._given:
            return False
        if path in self._leading:
            self._only_way.add(path)
            return False
        self.excluded += 1
        return True

    def _leads(self, path: bytes) -> bool:
        return path in self._given or path in self._leading

    def _tags_in(self, path: bytes, names: list[bytes], folder: int) -> set[bytes]:
        tags = {name for name in self._tags if _has(names, name)}
        if self._caches and _has(names, TAG) and _is_signed(path, folder):
            tags.add(TAG)
        return tags


def _above(given: set[bytes]) -> set[bytes]:
    return {path[:at] for path in given for at, char in enumerate(path) if char == 0x2F}


def _has(names: list[bytes], name: bytes) -> bool:
    at = bisect_left(names, name)
    return at < len(names) and names[at] == name


def _is_signed(path: bytes, folder: int) -> bool:
    try:
        if not stat.S_ISREG(os.stat(TAG, dir_fd=folder, follow_symlinks=False).st_mode):
            return False  # and it is not opened: devices may take that for an order
    except OSError:
        return False
    fd = _opened(path + b"/" + TAG, TAG, folder)
    if fd is None:
        return False
    try:
        return os.pread(fd, len(SIGNATURE), 0) == SIGNATURE
    except OSError:
        return False
    finally:
        os.close(fd)


def _is_nodump(path: bytes, name: bytes, folder: int) -> bool:
    fd = _opened(path, name, folder)
    if fd is None:
        return False
    try:
        return bool(read_flags(fd) & NodeFlag.NO_DUMP)
    finally:
        os.close(fd)


def _opened(path: bytes, name: bytes, folder: int) -> int | None:
    """Return a descriptor; None when the node cannot be opened, unless that is this machine's trouble."""
    try:
        return os.open(name, _OPEN, dir_fd=folder)
    except OSError as error:
        unreadable(path, error)  # the notice is for whoever reads the node; here only what it may raise counts
        return None
