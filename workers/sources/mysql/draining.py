"""Takes what mariabackup sends away from it, so that a slow vault never holds up the server.

While mariabackup holds locks that stop commits it must not have to wait for anybody: from then on, what the vault does
not take at once goes into a file without a name. Before, it waits as any program in a pipe does, so that a whole server
is never put down here.

Rule of the file: one thread puts in, one takes out, and every byte comes out once and in order.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from shared.errors import SkyharborError
from workers.engine.notices import reason

_PIECE: Final = 1024 * 1024
_MEMORY: Final = 16 * 1024 * 1024
_PATIENCE: Final = 0.5


class Drain:
    """The bytes of a descriptor. ``in_a_hurry`` is asked whether whoever writes there must not wait.

    ``close`` in any case, when nobody writes there any more.
    """

    def __init__(
        self, fd: int, *, folder: str, in_a_hurry: Callable[[], bool], check: Callable[[], None], stall: float
    ) -> None:
        self._fd = os.dup(fd)  # whoever has the other may close it while we read
        self._in_a_hurry = in_a_hurry
        self._check = check
        self._stall = stall
        self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 - closed by close
        self._put = self._taken = 0  # places in the file
        self.spilled = 0
        """How many bytes had to be put into the file so far."""
        self._pieces: deque[memoryview] = deque()
        self._held = 0
        self._change = threading.Condition()
        self._ended = self._closing = False
        self._error: OSError | None = None
        self._thread = threading.Thread(target=self._run, name="drain", daemon=True)
        self._thread.start()

    def read_into(self, buffer: memoryview) -> int:
        """Fill the beginning of ``buffer``; 0 at the end. Raises ``source-failed`` when nothing comes for too long."""
        deadline = time.monotonic() + self._stall
        with self._change:
            while not self._pieces and self._put == self._taken and not self._ended:
                if not self._change.wait(_PATIENCE):
                    self._check()
                if time.monotonic() > deadline:
                    raise SkyharborError("source-failed", f"nothing came for {self._stall:.0f} seconds")
            if self._error is not None:
                raise SkyharborError(
                    "source-failed",
                    f"what came could not be kept: {reason(self._error)}",
                    hint="Free space on the disk of the worker's home.",
                ) from self._error
            return self._from_memory(buffer) if self._pieces else self._from_file(buffer)

    def close(self) -> None:
        """Let everything go. Idempotent."""
        with self._change:
            self._closing = True
            self._change.notify_all()
        self._thread.join()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        self._file.close()

    # ── the taking out ───────────────────────────────────────────────────────────────────────────────

    def _from_memory(self, buffer: memoryview) -> int:
        piece = self._pieces[0]
        got = min(len(buffer), len(piece))
        buffer[:got] = piece[:got]
        if got == len(piece):
            self._pieces.popleft()
        else:
            self._pieces[0] = piece[got:]
        self._held -= got
        self._change.notify_all()
        return got

    def _from_file(self, buffer: memoryview) -> int:
        want = min(len(buffer), self._put - self._taken)
        if not want:
            return 0
        got = os.preadv(self._file.fileno(), [buffer[:want]], self._taken)
        self._taken += got
        if self._taken == self._put:
            os.ftruncate(self._file.fileno(), 0)
            self._put = self._taken = 0
        return got

    # ── the putting in ───────────────────────────────────────────────────────────────────────────────

    def _run(self) -> None:
        try:
            while not self._closing and (data := os.read(self._fd, _PIECE)):
                self._keep(memoryview(data))
        except OSError as error:
            self._error = error
        with self._change:
            self._ended = True
            self._change.notify_all()

    def _keep(self, data: memoryview) -> None:
        with self._change:
            while self._held >= _MEMORY and not self._closing and not self._in_a_hurry():
                self._change.wait(_PATIENCE)
            # What is in the file comes out behind what is in memory: nothing goes into memory before it is read.
            if self._held < _MEMORY and self._put == self._taken:
                self._pieces.append(data)
                self._held += len(data)
            else:
                self.spilled += len(data)
                while data:
                    done = os.pwrite(self._file.fileno(), data, self._put)
                    self._put, data = self._put + done, data[done:]
            self._change.notify_all()
