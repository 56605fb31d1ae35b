"""What another worker's session holds, as this worker can read it: the very same, or nothing at all.

An export is reached by its socket, on the machine of the session and by whom it lets in. An image of a machine that is
off is read by its path wherever that is the same file: on that machine, and on others that share its file system. What
is no raw image gets a server of our own, and the files that this one has opened are looked at, not those that have the
names.

Rule of the file: in doubt it is ``Elsewhere``; nothing is read before that is decided.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence

from msgspec.structs import replace

from shared.errors import SkyharborError
from workers.engine.notices import reason
from workers.engine.ports import Elsewhere, Guard
from workers.sources.this_boot import this_boot
from workers.sources.vm.description import DiskReading, VmReading
from workers.sources.vm.file_look import FileLook, look_into
from workers.sources.vm.image_server import ImageServer
from workers.sources.vm.nbd import NbdClient
from workers.sources.vm.release import FOLDER, FOLDERS

_PATIENCE = 10.0


@contextlib.contextmanager
def borrowed(told: VmReading, guard: Guard) -> Iterator[VmReading]:
    """Return how this worker reads what the description is of, for as long as it is borrowed.

    Raises ``Elsewhere`` when this worker does not have the very same, all of it.
    """
    here = bool(told.boot) and told.boot == this_boot()
    with contextlib.ExitStack() as held:
        servers = _Servers(guard, held)
        disks = tuple(_disk(disk, servers, here=here) for disk in told.disks)
        # Small files are the lead's: they may be in a folder that only the session's machine has.
        yield replace(told, boot=this_boot(), disks=disks, files=tuple(one for one in told.files if not one.path))


class _Servers:
    """Servers of our own, in a private folder that is made for the first of them."""

    def __init__(self, guard: Guard, held: contextlib.ExitStack) -> None:
        self._guard = guard
        self._held = held
        self._folder = ""

    def start(self, disk: DiskReading) -> ImageServer:
        """Serve the image at the path of a disk's."""
        if not self._folder:
            self._folder = tempfile.mkdtemp(prefix=FOLDERS)  # a socket's path is short
            self._held.callback(shutil.rmtree, self._folder, ignore_errors=True)
            deed = self._guard.arm(FOLDER, {"folder": self._folder})
            self._held.callback(self._guard.disarm, deed)
        name = disk.name.removesuffix(".raw")
        server = ImageServer(disk.image[0].path, disk.format, folder=self._folder, name=name)
        self._held.callback(server.close)
        return server


def _disk(disk: DiskReading, servers: _Servers, *, here: bool) -> DiskReading:
    if disk.file:
        return replace(disk, image=(_same_file(disk.file, disk.image, here=here),))
    if here and disk.address.unix and _reaches(disk):
        return disk
    if disk.image:
        return _served(disk, servers, here=here)
    raise Elsewhere(f"/{disk.name} is read by a socket of another machine, or of somebody else's")


def _same_file(path: str, image: Sequence[FileLook], *, here: bool) -> FileLook:
    """Return what the raw image looks like to us."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise Elsewhere(f"{path}: {reason(error)}") from error
    try:
        found = look_into(fd, path)
    finally:
        os.close(fd)
    if len(image) != 1 or not found.is_of(image[0], here=here):
        raise Elsewhere(f"{path} is not the file that the lead has")
    return found


def _reaches(disk: DiskReading) -> bool:
    """Tell whether the export lets us in, and is of a disk of this size."""
    try:
        with contextlib.closing(NbdClient.connect(disk.address, disk.export, patience=_PATIENCE)) as client:
            return client.size == disk.size
    except OSError:
        return False


def _served(disk: DiskReading, servers: _Servers, *, here: bool) -> DiskReading:
    try:
        server = servers.start(disk)
    except SkyharborError as error:
        raise Elsewhere(error.detail) from error
    found = server.files()
    wanted = list(disk.image)
    strangers = [one for one in found if not any(one.is_of(look, here=here) for look in wanted)]
    missing = [look for look in wanted if not any(one.is_of(look, here=here) for one in found)]
    if strangers or missing or server.size != disk.size:
        raise Elsewhere(f"{disk.image[0].path} does not consist of the files that the lead has")
    return replace(disk, address=server.address, export=server.export)
