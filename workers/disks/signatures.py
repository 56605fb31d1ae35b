"""What is in a volume, by the marks that formats leave at fixed places.

Rule of the file: a mark and a name for it; those that can be read have a reader, the others a word on what to do
instead.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from workers.disks import lvm_label
from workers.disks.ext.reader import Ext
from workers.disks.ext.superblock import is_ext
from workers.disks.fat.exfat import ExFat, is_exfat
from workers.disks.fat.fat import Fat, is_fat
from workers.disks.file_system import FileSystem
from workers.disks.ntfs import Ntfs, is_ntfs
from workers.disks.volume import Volume
from workers.disks.xfs.reader import Xfs
from workers.disks.xfs.superblock import is_xfs

Opener = Callable[[Volume], FileSystem]

_WHOLE = "restore the whole disk"
_KEY = "its key is not in the point: restore the whole disk"
_EMPTY = 64 * 1024


class Format(NamedTuple):
    """What a volume holds: its name, and how to open it or why it cannot be."""

    name: str
    opener: Opener | None = None
    trouble: str = ""


class _Mark(NamedTuple):
    offset: int  # from the end when negative
    mark: bytes
    name: str
    trouble: str


_MARKS = (
    _Mark(0, b"LUKS\xba\xbe", "LUKS", f"LUKS is encrypted, and {_KEY}"),
    _Mark(3, b"-FVE-FS-", "BitLocker", f"BitLocker is encrypted, and {_KEY}"),
    _Mark(4096, b"\xfc\x4e\x2b\xa9", "md raid", f"md raid: members cannot be put together yet; {_WHOLE}"),
    _Mark(0, b"\xfc\x4e\x2b\xa9", "md raid", f"md raid: members cannot be put together yet; {_WHOLE}"),
    _Mark(65536 + 64, b"_BHRfS_M", "btrfs", f"btrfs: files cannot be browsed yet; {_WHOLE}"),
    _Mark(3, b"ReFS", "ReFS", f"ReFS: files cannot be browsed; {_WHOLE}"),
    _Mark(4086, b"SWAPSPACE2", "swap", "swap space holds no files"),
    _Mark(65526, b"SWAPSPACE2", "swap", "swap space holds no files"),
    _Mark(1024, b"\x10\x20\xf5\xf2", "F2FS", f"F2FS: files cannot be browsed; {_WHOLE}"),
    _Mark(1024, b"H+\0\4", "HFS+", f"HFS+: files cannot be browsed; {_WHOLE}"),
    _Mark(32, b"NXSB", "APFS", f"APFS: files cannot be browsed; {_WHOLE}"),
    _Mark(131072, b"\x0c\xb1\xba\0\0\0\0\0", "ZFS", f"ZFS: files cannot be browsed; {_WHOLE}"),
    _Mark(0, b"hsqs", "squashfs", f"squashfs: files cannot be browsed; {_WHOLE}"),
    _Mark(32769, b"CD001", "ISO 9660", f"ISO 9660: files cannot be browsed; {_WHOLE}"),
)
LVM = "LVM2"

_OPENED: tuple[tuple[Callable[[Volume], bool], str, Opener], ...] = (
    (is_xfs, "XFS", Xfs),
    (is_ntfs, "NTFS", Ntfs),
    (is_exfat, "exFAT", ExFat),
    (is_ext, "ext", Ext),
    (is_fat, "FAT", Fat),
)
BOOT_SECTORS = frozenset({"NTFS", "exFAT", "FAT", "BitLocker", "ReFS"})
"""Formats whose first sector can be taken for a partition table."""


def identify(volume: Volume) -> Format:
    """Say what a volume holds. What has no known mark is ``unknown``."""
    for offset, mark, name, trouble in _MARKS:
        if volume.read(offset, len(mark)) == mark:
            return Format(name, None, trouble)
    if lvm_label.is_member(volume):
        return Format(LVM, None, "it is a part of a volume group; its logical volumes are listed beside it")
    for is_it, name, opener in _OPENED:
        if is_it(volume):
            return Format(name, opener)
    head = volume.read(0, _EMPTY)
    if not any(head):
        return Format("empty", None, "there is nothing in it")
    return Format("unknown", None, f"it holds nothing that is known here; {_WHOLE}")
