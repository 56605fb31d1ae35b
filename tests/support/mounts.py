"""File systems of other kinds, mounted for a test where the machine allows it.

Rule of the file: what cannot be mounted skips the test by name; nothing stays mounted.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest


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
def image(
    kind: str, place: os.PathLike[str] | str, *, size: int = 256 * 2**20, make: Sequence[str] = (), options: str = ""
) -> Iterator[str]:
    """Make a file system of ``size`` bytes in a file beside the folder and mount it there."""
    path = os.fspath(place)
    with open(f"{path}.img", "wb") as file:
        file.truncate(size)
    _run_or_skip([f"mkfs.{kind}", *make, f"{path}.img"], f"mkfs.{kind}")
    with mounted(kind, path, source=f"{path}.img", options=",".join(filter(None, ["loop", options]))) as there:
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
