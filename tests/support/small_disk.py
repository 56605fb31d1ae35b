"""A real file system with little room: a tmpfs, where the machine allows mounting one.

Rule of the file: whoever makes a disk gets rid of it; nothing is mounted that was not made here.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager


class NoDisk(Exception):
    """This machine does not let us mount anything; the message is mount's own."""


class SmallDisk:
    """A mounted disk. ``path`` is an empty folder on it."""

    def __init__(self, path: str) -> None:
        self.path = path

    def resize(self, size: int) -> None:
        """Give it this many bytes, rounded up to pages of 4 KiB; more than are in use already."""
        _mount("-o", f"remount,size={size}", self.path)


@contextmanager
def small_disk(path: str, size: int) -> Iterator[SmallDisk]:
    """Mount a disk of so many bytes at ``path``, which is made, and unmount it. Raises ``NoDisk``."""
    os.mkdir(path)
    _mount("-t", "tmpfs", "-o", f"size={size},mode=700", "small-disk", path)
    try:
        yield SmallDisk(path)
    finally:
        # Lazily: after a failure something may still be open on it.
        subprocess.run(["umount", "--lazy", path], check=True)
        os.rmdir(path)


def _mount(*words: str) -> None:
    try:
        done = subprocess.run(["mount", *words], capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise NoDisk(str(error)) from None
    if done.returncode:
        raise NoDisk(done.stderr.strip())
