"""Programs that snapshots are made with.

What only looks, and what mounts, ends with the worker. A program of LVM that changes something does not, and is never
killed: between its steps the volume stands still, and would stand still for ever. It goes on in a session of its own,
with a locked file as its input; so whoever cleans up can wait until the last one of a dead worker has ended.

Rule of the file: every call has an end, and every failure is ``source-failed`` with what the program said.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress

from shared.errors import SkyharborError
from workers.sources.children import tied
from workers.sources.settings import inherited

_PATIENCE = 120.0
_LONG_PATIENCE = 600.0
"""To bring a file system to rest, everything that waits to be written has to be written."""

_LOCK_PATIENCE = 60.0
_MOST_SAID = 500
_PAUSE = 0.1


def ask(*command: str) -> str:
    """Run a program that may be killed at any time, and return what it printed."""
    try:
        done = subprocess.run(
            tied(command),
            capture_output=True,
            text=True,
            errors="surrogateescape",
            timeout=_PATIENCE,
            check=False,
            stdin=subprocess.DEVNULL,
            env=_environment(),
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SkyharborError("source-failed", f"{command[0]}: {error}") from error
    return _said(command, done.returncode, done.stdout, done.stderr)


def change(*command: str, lock: str) -> None:
    """Run a program that must not be killed half-way; ``lock`` is a file that is locked for as long as it runs.

    When it does not end in time it is asked to, and left alone.
    """
    held = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(held, fcntl.LOCK_SH)
        process = subprocess.Popen(
            list(command),
            stdin=held,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="surrogateescape",
            start_new_session=True,
            env=_environment(),
        )
    except OSError as error:
        raise SkyharborError("source-failed", f"{command[0]}: {error}") from error
    finally:
        os.close(held)
    try:
        out, err = process.communicate(timeout=_LONG_PATIENCE)
    except subprocess.TimeoutExpired as error:
        process.terminate()
        raise SkyharborError("source-failed", f"{command[0]}: not done in {_LONG_PATIENCE:.0f} s") from error
    _said(command, process.returncode, out, err)


def wait_for_changes(lock: str) -> None:
    """Wait until no program runs that a worker, dead or alive, has started with this file; ``source-failed`` if long.

    Nothing to wait for when the file is not there.
    """
    with suppress(FileNotFoundError):
        held = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
        try:
            _lock(held)
        finally:
            os.close(held)


def _lock(held: int) -> None:
    until = time.monotonic() + _LOCK_PATIENCE
    while True:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() >= until:
                raise SkyharborError("source-failed", "a program of LVM that a dead worker began still runs") from error
            time.sleep(_PAUSE)
        else:
            return


def _said(command: Sequence[str], status: int, out: str, err: str) -> str:
    if status:
        said = " ".join((err.strip() or out.strip() or f"it ended with {status}").split())
        raise SkyharborError("source-failed", f"{command[0]}: {said[-_MOST_SAID:]}")
    return out


def _environment() -> dict[str, str]:
    return {**inherited(), "LC_ALL": "C", "LVM_SUPPRESS_FD_WARNINGS": "1"}
