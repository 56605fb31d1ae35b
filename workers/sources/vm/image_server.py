"""An NBD server over an image that nobody uses: ``qemu-nbd``, read-only, on a private socket, as a child.

Rule of the file: it ends with us, and nobody else can reach it.
"""

from __future__ import annotations

import contextlib
import os
import stat
import subprocess
import time

from shared.errors import SkyharborError
from workers.sources.children import tied
from workers.sources.vm.file_look import FileLook, look_of
from workers.sources.vm.nbd import NbdClient
from workers.sources.vm.wire import Address

_START_PATIENCE = 30.0
_END_PATIENCE = 10.0
_CLIENTS = 1000  # hands of all workers on this machine
_LOOK_AGAIN = 0.01
_MOST_SAID = 500


class ImageServer:
    """One image. ``folder`` is private. Raises ``source-failed`` when the image cannot be served."""

    def __init__(self, image: str, image_format: str, *, folder: str, name: str) -> None:
        self.address = Address(unix=f"{folder}/{name}.nbd")
        self.export = name
        # Read-only and with QEMU's locks: an image that a guest writes to is refused.
        command = tied([
            "qemu-nbd", "--read-only", "--persistent", f"--shared={_CLIENTS}", "--cache=writeback", "--aio=threads",
            f"--format={image_format}", f"--socket={self.address.unix}", f"--export-name={name}", "--", image,
        ])  # fmt: skip
        self._said = f"{folder}/{name}.said"
        with open(self._said, "wb") as said:
            self._server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
        try:
            self.size = self._await(image)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the server. Idempotent."""
        with contextlib.suppress(ProcessLookupError):
            self._server.terminate()
        try:
            self._server.wait(_END_PATIENCE)
        except subprocess.TimeoutExpired:
            self._server.kill()
            self._server.wait()

    def files(self) -> list[FileLook]:
        """Return what the server has open for its disk: whatever the names are of by now, this is what it reads."""
        folder, found = f"/proc/{self._server.pid}/fd", []
        said = os.stat(self._said)
        for number in os.listdir(folder):
            with contextlib.suppress(FileNotFoundError):  # it has let go of this one meanwhile
                path = f"{folder}/{number}"
                info = os.stat(path)
                ours = (info.st_dev, info.st_ino) == (said.st_dev, said.st_ino)
                if (stat.S_ISREG(info.st_mode) and not ours) or stat.S_ISBLK(info.st_mode):
                    found.append(look_of(path, info))
        return found

    @property
    def is_alive(self) -> bool:
        """Whether it still serves."""
        return self._server.poll() is None

    def _await(self, image: str) -> int:
        """Return the size of the disk as soon as the server answers."""
        until = time.monotonic() + _START_PATIENCE
        while self.is_alive and time.monotonic() < until:
            if os.path.exists(self.address.unix):
                with contextlib.suppress(ConnectionRefusedError, FileNotFoundError):
                    client = NbdClient.connect(self.address, self.export, patience=_START_PATIENCE)
                    client.close()
                    return client.size
            time.sleep(_LOOK_AGAIN)
        with open(self._said, encoding="utf-8", errors="backslashreplace") as said:
            why = said.read(_MOST_SAID).strip()
        raise SkyharborError("source-failed", f"{image}: {why or 'qemu-nbd does not serve it'}")
