"""What is backed up: copies of real files, and files made of a seed.

The same seed and the same machine give the same bytes. Changes are made in place and are part of the data set from then
on, so that all programs see the same history.

Rule of the file: real files are only read; everything is written below the folder that is given.
"""

from __future__ import annotations

import os
import random
import shlex
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.benchmarks.work import run
from tools.trees import walk

MIB = 1 << 20
SMALL = 4 * MIB
"""The largest file that a tree of small files takes along; large ones have data sets of their own."""

_BLOCK = 64 << 10
_FULL, _ZEROS = 0.6, 0.1


@dataclass(frozen=True)
class Found:
    """How much a data set holds: files and symlinks, and the bytes of the files without their holes."""

    files: int
    bytes: int


# Small files


def copy_small_files(sources: Sequence[str], tree: Path, *, most: int | None, largest: int | None) -> None:
    """Copy real trees, with all attributes, to below ``tree`` under their whole paths.

    Files, symlinks and folders are taken, at most ``most`` of the first two, none over ``largest`` bytes; what this
    user may not read is left out. Raises ``WorkFailed`` when it cannot be written.
    """
    tree.mkdir()
    names = tree.with_name(f"{tree.name}.names")
    with open(names, "wb") as file:
        for path in chosen_paths(sources, most=most, largest=largest):
            file.write(os.fsencode(path.lstrip("/")) + b"\0")
    # With --xattrs it is the posix format, which knows nanoseconds; the usual one does not.
    pack = "tar --xattrs --sparse --ignore-failed-read -cf - -C / --null --no-recursion"
    run("sh", "-c", f"{pack} -T {_quoted(names)} | tar --xattrs -xpf - -C {_quoted(tree)}")


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))


def chosen_paths(sources: Sequence[str], *, most: int | None, largest: int | None) -> Iterator[str]:
    """Return what ``copy_small_files`` copies: every folder before what is in it."""
    taken = 0
    for source in map(os.path.abspath, sources):
        for folder, folders, names in walk(source):
            if most is not None and taken >= most:
                return
            yield folder
            links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
            for name in [*links, *names]:
                path = os.path.join(folder, name)
                if _is_wanted(path, largest) and (most is None or taken < most):
                    taken += 1
                    yield path


def _is_wanted(path: str, largest: int | None) -> bool:
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return False
    if stat.S_ISLNK(status.st_mode):
        return True
    return stat.S_ISREG(status.st_mode) and (largest is None or status.st_size <= largest)


@dataclass(frozen=True)
class Changed:
    """How many files a change has touched in which way."""

    rewritten: int
    appended: int
    removed: int
    added: int


def change_files(tree: Path, *, share: float, seed: int) -> Changed:
    """Touch a ``share`` of the files: of ten, four are rewritten, three appended to, and one or two removed and added.

    New content is old content with its bytes exchanged: it compresses as real content does and is stored nowhere yet.
    """
    rng = random.Random(seed)
    files = [path for path in _files(tree) if path.lstat().st_nlink == 1]
    chosen = rng.sample(files, max(1, round(len(files) * share)))
    parts = [round(len(chosen) * end) for end in (0.4, 0.7, 0.85)]
    rewritten, appended, removed, models = (
        chosen[: parts[0]], chosen[parts[0] : parts[1]], chosen[parts[1] : parts[2]], chosen[parts[2] :]
    )  # fmt: skip
    exchange = _exchange(rng)
    for number, path in enumerate(models):
        path.with_name(f"added-{seed}-{number}").write_bytes(path.read_bytes().translate(exchange))
    for path in rewritten:
        _write(path, "wb", path.read_bytes().translate(exchange))
    for path in appended:
        _write(path, "ab", rng.randbytes(rng.randint(1, 4096)))
    for path in removed:
        path.unlink()
    return Changed(len(rewritten), len(appended), len(removed), len(models))


def _write(path: Path, mode: str, content: bytes) -> None:
    if not os.access(path, os.W_OK):
        path.chmod(path.stat().st_mode | stat.S_IWUSR)
    with open(path, mode) as file:
        file.write(content)


def _exchange(rng: random.Random) -> bytes:
    table = list(range(256))
    rng.shuffle(table)
    return bytes(table)


# Large files


def make_disk_image(image: Path, *, size: int, sources: Sequence[str], seed: int) -> None:
    """Make a file like the disk of a machine in use: real files one after the other, zeros, and holes.

    About six tenths are real content, one tenth written zeros, the rest holes, in runs of 1 to 32 MiB; files begin at
    4 KiB as on a file system. Raises ``SystemExit`` when the sources have no content.
    """
    rng = random.Random(seed)
    content = _real_content(sources, rng)
    image.parent.mkdir()
    with open(image, "wb") as file:
        file.truncate(size)
        at = 0
        while at < size:
            run = min(rng.randint(1, 32) * MIB, size - at)
            kind = rng.random()
            if kind < _FULL:
                file.seek(at)
                _pour(content, file.fileno(), at, run)
            elif kind < _FULL + _ZEROS:
                file.seek(at)
                file.write(bytes(run))
            at += run


def _pour(content: Iterator[bytes], fd: int, at: int, length: int) -> None:
    end = at + length
    while at < end:
        piece = next(content)[: end - at]
        os.pwrite(fd, piece, at)
        at += -(-len(piece) // 4096) * 4096


def _real_content(sources: Sequence[str], rng: random.Random) -> Iterator[bytes]:
    """Return the content of real files in a shuffled order, by pieces; the second time round it is another content."""
    paths = [path for path in chosen_paths(sources, most=None, largest=None) if os.path.isfile(path)]
    paths = [path for path in paths if not os.path.islink(path)]
    rng.shuffle(paths)
    exchange = bytes(range(256))
    while True:
        found = False
        for path in paths:
            for piece in _pieces(path):
                found = True
                yield piece.translate(exchange)
        if not found:
            raise SystemExit(f"nothing to read in {', '.join(sources)}")
        exchange = _exchange(rng)


def _pieces(path: str) -> Iterator[bytes]:
    try:
        with open(path, "rb") as file:
            while piece := file.read(MIB):
                yield piece
    except OSError:
        return  # not ours to read, or gone


def change_blocks(image: Path, *, share: float, seed: int) -> int:
    """Write new bytes over a ``share`` of the 64 KiB blocks of a file, in place; return how many."""
    rng = random.Random(seed)
    blocks = image.stat().st_size // _BLOCK
    chosen = sorted(rng.sample(range(blocks), max(1, round(blocks * share))))
    with open(image, "r+b") as file:
        for block in chosen:
            file.seek(block * _BLOCK)
            file.write(rng.randbytes(_BLOCK))
    return len(chosen)


def make_incompressible(folder: Path, *, size: int, seed: int, files: int = 8) -> None:
    """Make files of random bytes, ``size`` together."""
    rng = np.random.default_rng(seed)
    folder.mkdir()
    each = size // files
    for number in range(files):
        with open(folder / f"random-{number}.bin", "wb") as file:
            for at in range(0, each, MIB):
                file.write(rng.bytes(min(MIB, each - at)))


# Extremes


def make_many_files(folder: Path, *, count: int, seed: int) -> None:
    """Make one folder with so many files, half of them empty, the others of a few bytes."""
    rng = random.Random(seed)
    folder.mkdir()
    root = os.open(folder, os.O_RDONLY)
    try:
        for number in range(count):
            fd = os.open(f"{number:07d}-{rng.getrandbits(32):08x}", os.O_WRONLY | os.O_CREAT, 0o644, dir_fd=root)
            if number % 2:
                os.write(fd, b"%d\n" % number)
            os.close(fd)
    finally:
        os.close(root)


def make_sparse_file(path: Path, *, size: int, data: int, seed: int) -> None:
    """Make one file of ``size`` bytes of which ``data`` exist, in ten pieces at any place; the rest is a hole."""
    rng = random.Random(seed)
    path.parent.mkdir()
    piece = data // 10
    with open(path, "wb") as file:
        file.truncate(size)
        for slot in rng.sample(range(size // piece), 10):
            file.seek(slot * piece)
            file.write(rng.randbytes(piece))


def measure_data(path: Path) -> Found:
    """Count what is below a folder. A file of which several names exist is counted at each name."""
    files = held = 0
    for folder, folders, names in walk(str(path)):
        folders = [name for name in folders if os.path.islink(os.path.join(folder, name))]
        for name in [*folders, *names]:
            status = os.lstat(os.path.join(folder, name))
            files += 1
            held += min(status.st_size, status.st_blocks * 512) if stat.S_ISREG(status.st_mode) else 0
    return Found(files, held)


def _files(tree: Path) -> list[Path]:
    return [
        Path(folder, name)
        for folder, _, names in walk(str(tree))
        for name in names
        if stat.S_ISREG(os.lstat(os.path.join(folder, name)).st_mode)
    ]
