"""What kind of image a file is.

A file called ``.raw``, and a device, is raw whatever is in it: a guest writes what it likes into a raw disk, also the
header of another format that names a file of this machine as what it stands on.

Rule of the file: looking at names and first bytes only.
"""

from __future__ import annotations

import os
import stat
from typing import Final

from shared.errors import SkyharborError

RAW: Final = "raw"
_MAGIC: Final = (
    (0, b"QFI\xfb", "qcow2"),
    (0, b"KDMV", "vmdk"),
    (0, b"# Disk DescriptorFile", "vmdk"),
    (0, b"vhdxfile", "vhdx"),
    (0, b"conectix", "vpc"),
    (64, b"\x7f\x10\xda\xbe", "vdi"),
)
_SUFFIXES: Final = frozenset({".qcow2", ".vmdk", ".vdi", ".vhd", ".vhdx"})
_HEAD: Final = 128
_FOOTER: Final = 512


def format_of(path: str) -> str:
    """Return the format by QEMU's name. OSError when the image cannot be read.

    Raises ``source-failed`` for an image that is called like one of a format and does not begin like it: taken for
    raw it would be kept, and be of no use to anybody.
    """
    with open(path, "rb") as image:
        if path.endswith(".raw") or not stat.S_ISREG(os.fstat(image.fileno()).st_mode):
            return RAW
        head = image.read(_HEAD)
        for offset, magic, name in _MAGIC:
            if head[offset : offset + len(magic)] == magic:
                return name
        # A VHD of fixed size has its header at the end, which a guest cannot reach if it is one.
        size = image.seek(0, os.SEEK_END)
        if path.endswith((".vhd", ".vpc")) and size >= _FOOTER:
            image.seek(size - _FOOTER)
            if image.read(8) == b"conectix":
                return "vpc"
    claimed = os.path.splitext(path)[1].lower()
    if claimed in _SUFFIXES:
        raise SkyharborError(
            "source-failed",
            f"{path} is called {claimed} and does not begin like one",
            hint="Look at it with 'qemu-img check'; a raw disk is to be called .raw.",
        )
    return RAW
