"""The data folder that a restore makes: built beside everything else in a folder of its own, moved when it is done.

What happens when it dies: until the end of the move the target holds that folder, and by it the next restore knows that
everything there is its own to throw away.

Rule of the file: a target with anything of somebody else's in it is never touched.
"""

from __future__ import annotations

import errno
import grp
import os
import pwd
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from shared.errors import SkyharborError
from workers.engine.file_writing import raise_if_full
from workers.engine.notices import reason
from workers.sources.mysql.chain import Owner

WORK: Final = ".skyharbor-restore"
_DONE: Final = "done"
_FOLDER: Final = 0o700
_FILE: Final = 0o660


class Target:
    """A data folder to be. ``work`` is where it is built, on the same file system."""

    def __init__(self, path: str) -> None:
        """Raises ``target-invalid`` unless the folder is ours to fill; makes nothing yet."""
        if not os.path.isabs(path):
            raise SkyharborError("target-invalid", f"{path} is not an absolute path")
        self.path = path
        self.work = os.path.join(path, WORK)
        try:
            there = set(os.listdir(path))
        except FileNotFoundError:
            there = set()
        except OSError as error:
            raise SkyharborError("target-invalid", f"{path}: {reason(error)}") from error
        self._moving = os.path.exists(os.path.join(self.work, _DONE))
        if there - {WORK} and not self._moving:
            raise SkyharborError(
                "target-invalid",
                f"{path} is not empty",
                hint="A data folder is restored into an empty or a new folder: stop the server, move the old one away.",
            )

    def begin(self) -> None:
        """Make an empty folder to build in; what a killed restore has left goes."""
        with self._said():
            if self._moving:
                # Whole, or nearly so, but nobody was told: it may be of another moment than the one wanted now.
                for name in os.listdir(self.path):
                    _remove(os.path.join(self.path, name))
                self._moving = False
            elif os.path.exists(self.work):
                shutil.rmtree(self.work)
            os.makedirs(self.path, mode=_FOLDER, exist_ok=True)
            os.mkdir(self.work, _FOLDER)

    def lend(self, owner: tuple[int, int] | None) -> None:
        """Let the owner of the data enter the folder in which it is built."""
        if owner is not None:
            with self._said():
                os.chown(self.path, *owner)
                os.chown(self.work, *owner)

    def finish(self, data: str, owner: tuple[int, int] | None) -> None:
        """Move what was built to its place and throw away the rest."""
        with self._said():
            dress(data, owner)
            with open(os.path.join(self.work, _DONE), "xb"):
                pass
            for name in os.listdir(data):
                os.rename(os.path.join(data, name), os.path.join(self.path, name))
            os.chmod(self.path, _FOLDER)
            if owner is not None:
                os.chown(self.path, *owner)
            shutil.rmtree(self.work)

    def forget(self) -> None:
        """Throw away what was built so far."""
        shutil.rmtree(self.work, ignore_errors=True)

    @contextmanager
    def _said(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise_if_full(error)
            raise SkyharborError("target-invalid", f"{self.path}: {reason(error)}") from error


def owner_on_this_machine(owner: Owner) -> tuple[int, int] | None:
    """Return to whom the data is given; None when this process may not give it away and keeps it."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(owner.user).pw_uid, grp.getgrnam(owner.group).gr_gid
    except KeyError:
        return owner.uid, owner.gid  # they have no names here: the numbers are all there is


def dress(folder: str, owner: tuple[int, int] | None) -> None:
    """Give everything in a folder to its owner, for nobody else to read."""
    for at, _, files in os.walk(folder):
        _give(at, _FOLDER, owner)
        for name in files:
            _give(os.path.join(at, name), _FILE, owner)


def _give(path: str, mode: int, owner: tuple[int, int] | None) -> None:
    if os.path.islink(path):
        raise OSError(errno.ELOOP, "a symlink in a backup of a server", path)
    os.chmod(path, mode)
    if owner is not None:
        os.chown(path, *owner, follow_symlinks=False)


def _remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        os.unlink(path)
