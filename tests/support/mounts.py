"""File systems of other kinds, mounted for a test where the machine allows it.

Rule of the file: what cannot be mounted skips the test by name; nothing stays mounted. An image is let go of when the
kernel has written all of it and has no device for it any more, however many tests run beside.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

FORGET_IMAGES = """awk '$(NF-1) ~ "^/dev/loop" { print $5 }' /proc/self/mountinfo | xargs -r umount -l"""
"""For the shell in a new mount namespace: images of other tests would stay mounted for as long as that is there."""


@contextmanager
def mounted(kind: str, place: os.PathLike[str] | str, *, source: str = "none", options: str = "") -> Iterator[str]:
    """Mount a file system at a folder (made when missing) and give its path."""
    path = os.fspath(place)
    os.makedirs(path, exist_ok=True)
    command = ["mount", "-t", kind, *(["-o", options] if options else []), source, path]
    _run_or_skip(command, f"a mounted {kind}")
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", path], check=True)


@contextmanager
def mounted_image(file: os.PathLike[str] | str, place: os.PathLike[str] | str, *options: str) -> Iterator[str]:
    """Mount what is in a file at a folder (made when missing) and give the folder's path."""
    if os.geteuid() != 0 or not os.path.exists("/dev/loop-control"):
        pytest.skip("mounting an image needs root and loop devices")
    path = os.fspath(place)
    os.makedirs(path, exist_ok=True)
    command = ["mount", "-o", ",".join(["loop", *options]), os.fspath(file), path]
    with open(f"{tempfile.gettempdir()}/skyharbor-tests.loop", "ab") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)  # two that look for a free device may both find the same
        _run_or_skip(command, "a mounted image")
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", path], check=True)
        await_release(file)


def await_release(file: os.PathLike[str] | str) -> None:
    """Wait until no device is made of a file any more."""
    until = time.monotonic() + 90
    while subprocess.run(["losetup", "-j", os.fspath(file)], check=True, capture_output=True).stdout:
        assert time.monotonic() < until, f"{file} is still in use"
        time.sleep(0.01)


@contextmanager
def image(
    kind: str, place: os.PathLike[str] | str, *, size: int = 256 * 2**20, make: Sequence[str] = (), options: str = ""
) -> Iterator[str]:
    """Make a file system of ``size`` bytes in a file beside the folder and mount it there."""
    path = os.fspath(place)
    with open(f"{path}.img", "wb") as file:
        file.truncate(size)
    _run_or_skip([f"mkfs.{kind}", *make, f"{path}.img"], f"mkfs.{kind}")
    with mounted_image(f"{path}.img", path, *filter(None, [options])) as there:
        yield there


@contextmanager
def bound(folder: str, place: str) -> Iterator[str]:
    """Show a folder at another place as well."""
    _run_or_skip(["mount", "--bind", folder, place], "a bind mount")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def _run_or_skip(command: Sequence[str], what: str) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip(f"{what}: {command[0]} is not installed")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"{what}: {error.stderr.strip() or error}")
