"""Listens at the broker: every command that reaches it, events included, is kept for the search for secrets.

Rule of the file: it only listens; a broker that is away is waited for.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path


class Tap:
    """Writes what MONITOR tells into a file until it is closed."""

    def __init__(self, broker: str, file: Path) -> None:
        self._broker = broker
        self.file = file
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tap", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """End, with everything heard in the file."""
        self._ended.set()
        self._thread.join(10)

    def _run(self) -> None:
        with open(self.file, "ab") as out:
            while not self._ended.wait(0.1):
                with contextlib.suppress(OSError):
                    self._listen(out)

    def _listen(self, out) -> None:  # type: ignore[no-untyped-def]
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(0.5)
            client.connect(self._broker)
            client.sendall(b"MONITOR\r\n")
            while not self._ended.is_set():
                try:
                    heard = client.recv(1 << 16)
                except TimeoutError:
                    continue
                if not heard:
                    return
                out.write(heard)
