"""Brings a point of a share back to a folder of this machine, as the engine does with files.

What only the share's server has lies in xattrs of the ``user.`` kind. Where the target has none of those, that is said
once, and not for every file.

Rule of the file: the engine restores; here entries are only fitted to the target.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import suppress

from shared.contracts.work import RestoreDone, RestoreInstruction
from shared.errors import SkyharborError
from shared.model.backup import Notice
from shared.vault.entry import Entry
from shared.vault.reader import PointReader
from workers.engine.ports import Control
from workers.engine.restore import restore_point

_NONE_HERE = frozenset({errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})
_PROBE = b"user.skyharbor.probe"


class FittedReader(PointReader):
    """A point whose entries fit to where they are restored: without xattrs, or with owners that can be given."""

    def __init__(self, reader: PointReader, *, own: bool, xattrs: bool) -> None:
        self.__dict__.update(reader.__dict__)  # the same point, read by the same means
        self._own = own
        self._xattrs = xattrs
        self.stripped = 0
        """How many entries came without what they had."""

    def entries_or_errors(self, under: bytes = b"") -> Iterator[Entry | SkyharborError]:
        """Yield entries as the point has them, fitted."""
        uid, gid = os.geteuid(), os.getegid()
        for entry in super().entries_or_errors(under):
            if isinstance(entry, Entry):
                if self._own:
                    entry.uid, entry.gid = uid, gid
                if entry.xattrs and not self._xattrs:
                    entry.xattrs = ()
                    self.stripped += 1
            yield entry


def land_at_home(reader: PointReader, instruction: RestoreInstruction, control: Control, *, own: bool) -> RestoreDone:
    """Restore to a folder. ``own``: everything belongs to this process, for the point knows no owners by number."""
    fitted = FittedReader(reader, own=own, xattrs=_takes_xattrs(instruction.target))
    done = restore_point(
        fitted, target=instruction.target, paths=instruction.paths, conflict=instruction.conflict, control=control
    )
    if not fitted.stripped:
        return done
    done.stats.warnings += 1
    text = f"the target keeps no xattrs, so {fitted.stripped} nodes came without what only the share has"
    return RestoreDone(stats=done.stats, warnings=(Notice("/", "metadata-not-kept", text), *done.warnings))


def _takes_xattrs(target: str) -> bool:
    """Tell whether the folder, or the first one above it that is there, can have xattrs. In doubt it can."""
    at = os.path.abspath(target)
    while not os.path.isdir(at) and at != "/":
        at = os.path.dirname(at)
    try:
        os.setxattr(at, _PROBE, b"")
    except OSError as error:
        return error.errno not in _NONE_HERE
    with suppress(OSError):
        os.removexattr(at, _PROBE)
    return True
