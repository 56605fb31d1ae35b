"""What real images need: programs by name, loop devices, rights. What is not here is skipped by its name."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest

from tests.support.mounts import mounted_image

_PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
_PACKAGES = {
    "e2fsprogs": "mkfs.ext4 dumpe2fs debugfs chattr lsattr",
    "xfsprogs": "mkfs.xfs",
    "ntfs-3g": "mkntfs ntfs-3g",
    "dosfstools": "mkfs.vfat",
    "mtools": "mcopy mattrib",
    "fdisk": "sfdisk",
    "lvm2": "pvcreate vgcreate vgchange vgcfgbackup vgcfgrestore",
    "exfatprogs": "mkfs.exfat fsck.exfat",
    "btrfs-progs": "mkfs.btrfs",
    "cryptsetup-bin": "cryptsetup",
    "util-linux": "mkswap fsfreeze",
    "qemu-utils": "qemu-img",
    "mount": "losetup",
}
PACKAGES = {name: package for package, names in _PACKAGES.items() for name in names.split()}


def program(name: str) -> str:
    """Return where a program is, or skip."""
    found = shutil.which(name, path=_PATH)
    if found is None:
        pytest.skip(f"{name} is not here (Debian package {PACKAGES[name]})")
    return found


def run(name: str, *arguments: str | Path, data: str | None = None) -> str:
    """Run a program and return what it says; a failure is shown with it."""
    done = subprocess.run(
        [program(name), *map(str, arguments)], input=data, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, f"{name} {arguments}: {done.stdout} {done.stderr}"
    return done.stdout


def blank(path: Path, size: int) -> Path:
    """Make an image of zeros."""
    with path.open("wb") as file:
        file.truncate(size)
    return path


Mount = Callable[..., object]


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Mount]:
    """Give a context manager that mounts an image in the kernel of the tests; skipped where that is not allowed."""
    numbers = count()

    @contextmanager
    def mount(image: Path, *options: str) -> Iterator[Path]:
        with mounted_image(image, tmp_path / f"mounted-{next(numbers)}", *options) as point:
            yield Path(point)

    return mount


@contextmanager
def ntfs_mounted(image: Path, point: Path, *options: str) -> Iterator[Path]:
    """Mount an image of NTFS with FUSE, or skip."""
    tool = program("ntfs-3g")
    point.mkdir()
    more: Sequence[str] = ["-o", ",".join(options)] if options else []
    done = subprocess.run([tool, *more, str(image), str(point)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"ntfs-3g does not mount here: {done.stderr.strip().splitlines()[:1]}")
    try:
        yield point
    finally:
        subprocess.run(["umount", str(point)], check=True)
