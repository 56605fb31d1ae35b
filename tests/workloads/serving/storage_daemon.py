"""QEMU's storage daemon as the running guest of a test: it holds an overlay open, writes, reads, and streams.

Rule of the file: it stands for the block layer of QEMU, which is the very same code; what it says is waited for, never
a time.
"""

from __future__ import annotations

import ctypes
import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.unit.serving.nbd_peer import Peer

WAIT = 90


class Daemon:
    """A daemon that serves the overlay, writable, to the one client that these tests are."""

    def __init__(self, process: subprocess.Popen[str], nbd: str) -> None:
        self._process = process
        # The monitor is the last thing that it opens: when it greets, the disk is there.
        assert "QMP" in self._said()
        self._ask("qmp_capabilities")
        self._disk = Peer.at(nbd)
        self._disk.go("disk")

    def write(self, offset: int, data: bytes) -> None:
        """Write to the disk as its guest."""
        self._disk.request(1, offset, len(data))
        self._disk.send(data)
        assert self._disk.simple() == (0, b"")  # QEMU answers so unless something is wrong

    def read(self, offset: int, length: int) -> bytes:
        """Read the disk as its guest."""
        return self._disk.read(offset, length)

    def ask_for(self, offset: int, length: int) -> None:
        """Send the request for a read; ``answer`` takes what comes."""
        self._disk.request(0, offset, length)

    def answer(self, offset: int, length: int) -> bytes:
        """Return what a read that was asked for gives."""
        return self._disk.put_together(offset, length)

    def start_streaming(self) -> None:
        """Have everything of the backing file copied into the overlay."""
        self._ask("block-stream", **{"job-id": "stream", "device": "overlay"})

    def wait_for_the_stream(self) -> None:
        """Wait until the overlay stands alone."""
        while (said := self._said()).get("event") != "BLOCK_JOB_COMPLETED":
            pass
        assert "error" not in said["data"], said

    def close(self) -> None:
        """Let go of the disk."""
        self._disk.close()

    def _ask(self, command: str, **arguments: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"execute": command, "arguments": arguments}))
        self._process.stdin.flush()
        while "return" not in (said := self._said()):
            assert "error" not in said, said

    def _said(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the daemon has ended"
        said: dict[str, Any] = json.loads(line)
        return said


@contextmanager
def storage_daemon(folder: Path, overlay: str) -> Iterator[Daemon]:
    """Open an overlay in a daemon until the block ends."""
    nbd = f"{folder}/qsd.nbd"
    process = subprocess.Popen(
        [
            "qemu-storage-daemon",
            "--blockdev", f"driver=file,node-name=file,filename={overlay}",
            "--blockdev", "driver=qcow2,node-name=overlay,file=file",
            "--nbd-server", f"addr.type=unix,addr.path={nbd}",
            "--export", "type=nbd,id=disk,node-name=overlay,name=disk,writable=on",
            "--chardev", "stdio,id=qmp", "--monitor", "chardev=qmp",
        ],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=_die_with_the_test,
    )  # fmt: skip
    try:
        daemon = Daemon(process, nbd)
        try:
            yield daemon
        finally:
            daemon.close()
    finally:
        process.terminate()
        process.communicate(timeout=WAIT)


def _die_with_the_test() -> None:
    """Let the kernel end the daemon when the tests are killed."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
