"""The page cache before a run: warm or cold, never what the last run left.

Rule of the file: everything written so far is on the disk before a run begins, so nobody pays for another's pages.
"""

from __future__ import annotations

import os
import shlex
from enum import StrEnum
from pathlib import Path

from tests.benchmarks.work import run


class Cache(StrEnum):
    """Warm: what will be read was read just before. Cold: no file, folder or inode is in memory."""

    WARM = "warm"
    COLD = "cold"


def may_drop() -> bool:
    """Whether this user may empty the page cache: root, and not in a container that forbids it."""
    return os.access("/proc/sys/vm/drop_caches", os.W_OK)


def set_cache(cache: Cache, path: Path) -> None:
    """Prepare a run that will read ``path``. ``Cache.COLD`` needs root."""
    os.sync()
    if cache is Cache.COLD:
        Path("/proc/sys/vm/drop_caches").write_text("3")
    else:
        _read(path)


def _read(path: Path) -> None:
    """Read every file once. Holes are not read: they occupy no cache."""
    folder, name = shlex.quote(str(path.parent)), shlex.quote(path.name)
    # tar reads nothing when its output is /dev/null, hence the pipe.
    run("sh", "-c", f"tar --sparse -cf - -C {folder} {name} | cat >/dev/null")
