"""The session of a virtual machine that is off: its image files, read as disks.

Raw images are read as they are, all others through ``qemu-nbd``. Nobody tells what has changed inside of an image, so
one that was touched is read as a whole (what the vault has is not stored again), one that was not is not read at all.

Rule of the file: an image that somebody writes to, before or meanwhile, has no point.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from shared.errors import SkyharborError
from shared.model.backup import Notice
from workers.engine.notices import reason
from workers.engine.ports import SessionOrder
from workers.sources.this_boot import this_boot
from workers.sources.vm.chain import DiskState, VmState, names_for, state_of, to_text
from workers.sources.vm.description import DiskReading, FileReading, VmReading, block_for, encode
from workers.sources.vm.file_look import FileLook, look_at
from workers.sources.vm.image_formats import RAW, format_of
from workers.sources.vm.image_server import ImageServer
from workers.sources.vm.image_use import is_written_to
from workers.sources.vm.papers import to_bytes
from workers.sources.vm.qemu_img import chain_of
from workers.sources.vm.release import FOLDER, FOLDERS


@dataclass(frozen=True, slots=True)
class _Image:
    """An image and all files that it consists of, and what they looked like."""

    path: str
    format: str
    looks: tuple[FileLook, ...]

    @property
    def inode(self) -> int:
        return self.looks[0].inode or self.looks[0].device

    @property
    def mtime_ns(self) -> int:
        return max(look.mtime_ns for look in self.looks)

    @property
    def ctime_ns(self) -> int:
        return max(look.ctime_ns for look in self.looks)


class ImagesSession:
    """The engine's ``Session`` of images; ``papers`` come along.

    Raises ``source-missing`` and ``source-failed`` when it cannot be opened.
    """

    def __init__(
        self,
        order: SessionOrder,
        disks: Sequence[str],
        *,
        papers: Sequence[FileReading] = (),
        notices: Sequence[Notice] = (),
    ) -> None:
        self._more = tuple(papers)
        self._notices = tuple(notices)
        self._servers: list[ImageServer] = []
        self._guard = order.guard
        self._folder = tempfile.mkdtemp(prefix=FOLDERS)  # a socket's path is short
        self._deed = None
        try:
            self._deed = order.guard.arm(FOLDER, {"folder": self._folder})
            self._open(order, disks)
        except BaseException:
            self.close()
            raise

    @property
    def reading(self) -> bytes:
        """How hands and shards read the disks."""
        return self._reading

    @property
    def paths(self) -> tuple[str, ...]:
        """What is protected: everything."""
        return ("/",)

    @property
    def state(self) -> Mapping[str, str]:
        """What disks are called, and how they are cut."""
        disks = tuple(
            DiskState(name=disk.name.removesuffix(".raw"), key=image.path, size=disk.size)
            for image, disk in zip(self._images, self._disks, strict=True)
        )
        return to_text(VmState(block=self._block, disks=disks))

    def notices(self) -> Sequence[Notice]:
        """Return what was said before it began."""
        return self._notices

    def confirm(self) -> None:
        """Raise ``source-failed`` when an image was touched while it was read, or could not be read to the end."""
        for image in self._images:
            for then in image.looks:
                if not _look(then.path).is_of(then):
                    raise SkyharborError(
                        "source-failed",
                        f"{then.path} was changed while it was read",
                        hint="Protect a machine that runs by its QMP socket (--qmp) or libvirt.",
                    )
        if not all(server.is_alive for server in self._servers):
            raise SkyharborError("source-failed", "qemu-nbd has ended before its time")

    def sealed(self) -> None:
        """There is nothing to keep."""

    def close(self) -> None:
        """End the servers. Idempotent."""
        servers, self._servers = self._servers, []
        for server in servers:
            server.close()
        shutil.rmtree(self._folder, ignore_errors=True)
        if self._deed is not None:
            self._guard.disarm(self._deed)

    # ── opening ──────────────────────────────────────────────────────────────────────────────────────

    def _open(self, order: SessionOrder, disks: Sequence[str]) -> None:
        reference = state_of(order.reference)
        self._images = [_image(path) for path in disks]
        names = names_for([image.path for image in self._images], reference)
        self._disks = [self._disk(image, name) for image, name in zip(self._images, names, strict=True)]
        self._block = block_for(max(disk.size for disk in self._disks))
        order.check()
        newest = max(image.ctime_ns for image in self._images)  # that of its names as well
        papers = FileReading(name="vm.json", content=self._papers(), time_ns=newest)
        self._reading = encode(
            VmReading(block=self._block, boot=this_boot(), disks=tuple(self._disks), files=(papers, *self._more))
        )

    def _disk(self, image: _Image, name: str) -> DiskReading:
        disk = DiskReading(
            name=f"{name}.raw",
            size=0,
            inode=image.inode,
            mtime_ns=image.mtime_ns,
            ctime_ns=image.ctime_ns,
            image=image.looks,
            format=image.format,
        )
        if image.format == RAW:
            return replace(disk, size=_size_of(image.path), file=image.path)
        server = ImageServer(image.path, image.format, folder=self._folder, name=name)
        self._servers.append(server)
        return replace(disk, size=server.size, address=server.address, export=server.export)

    def _papers(self) -> bytes:
        disks: list[dict[str, Any]] = [
            {"file": disk.name, "format": image.format, "image": image.path, "size": disk.size}
            for image, disk in zip(self._images, self._disks, strict=True)
        ]
        return to_bytes({"disks": disks})


def _is_disk(mode: int) -> bool:
    """Tell whether a node of this mode can be the image of a disk."""
    return stat.S_ISREG(mode) or stat.S_ISBLK(mode)


def _image(path: str) -> _Image:
    try:
        if not os.path.exists(path):
            raise SkyharborError("source-missing", path)
        if not _is_disk(os.stat(path).st_mode):
            raise SkyharborError("source-missing", f"{path} is no file and no disk, so it is no image of one")
        if is_written_to(path):
            raise SkyharborError(
                "source-failed",
                f"{path} is in use by a machine that runs",
                hint="Protect it by its QMP socket (--qmp) or libvirt.",
            )
        image_format = format_of(path)
    except OSError as error:
        raise SkyharborError("source-failed", f"{path}: {reason(error)}") from error
    files = [path] if image_format == RAW else [path, *_others(path, image_format)]
    return _Image(path, image_format, tuple(_look(file) for file in files))


def _others(path: str, image_format: str) -> list[str]:
    """Return the local files that an image consists of besides itself: what it stands on, and its extents."""
    found: list[str] = []
    for part in chain_of(path, image_format):
        extents = part.get("format-specific", {}).get("data", {}).get("extents", ())
        names = [part["filename"], *(extent["filename"] for extent in extents)]
        found += [name for name in names if os.path.isfile(name) and name not in (path, *found)]
    return found


def _look(path: str) -> FileLook:
    try:
        return look_at(path)
    except OSError as error:
        raise SkyharborError("source-failed", f"{path}: {reason(error)}") from error


def _size_of(path: str) -> int:
    """Return the size of a raw image; that of a device is where its end is."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.lseek(fd, 0, os.SEEK_END)
    finally:
        os.close(fd)
