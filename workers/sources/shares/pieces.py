"""The bytes of an open file, asked for ahead of need in large pieces: while the engine works, the server does.

Rule of the file: it keeps what was asked for and what is left of it; reading is the workload's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress

_PIECE = 4 * 1024 * 1024
_NOTHING: tuple[int, memoryview] = (0, memoryview(b""))

Begin = Callable[[int, int], Callable[[], bytes]]
"""Begins to read so many bytes from an offset; what it returns waits for them, and gives fewer where the file ends."""


class Pieces:
    """One thread. ``until`` is how far the file will be read: nothing is asked for beyond."""

    def __init__(self, begin: Begin, *, ahead: int) -> None:
        self._begin = begin
        self._ahead = ahead
        self._coming: deque[tuple[Callable[[], bytes], int, int]] = deque()
        self._rest = _NOTHING
        self.until = 0

    def fill(self, buffer: memoryview, offset: int) -> int:
        """Fill ``buffer`` from ``offset`` as far as the file goes."""
        done = self._from_rest(buffer, offset)
        if self._coming and done < len(buffer) and self._coming[0][1] != offset + done:
            self._coming.clear()
        while done < len(buffer):
            self._ask_ahead(offset + done, offset + len(buffer))
            take, at, length = self._coming.popleft()
            data = memoryview(take())
            taken = min(len(data), len(buffer) - done)
            buffer[done : done + taken] = data[:taken]
            done += taken
            if len(data) < length:  # the file ended
                self._coming.clear()
                return done
            if taken < len(data):
                self._rest = (at + taken, data[taken:])
        return done

    def forget(self) -> None:
        """Nothing that was asked for is of use any more."""
        self._coming.clear()
        self._rest = _NOTHING

    def settle(self) -> None:
        """Wait until nothing is under way any more: what it reads from is to be closed."""
        for take, _, _ in self._coming:
            with suppress(Exception):  # nobody wants it
                take()
        self.forget()

    def _from_rest(self, buffer: memoryview, offset: int) -> int:
        at, data = self._rest
        if at != offset:
            self._rest = _NOTHING
            return 0
        taken = min(len(data), len(buffer))
        buffer[:taken] = data[:taken]
        self._rest = (at + taken, data[taken:])
        return taken

    def _ask_ahead(self, offset: int, wanted: int) -> None:
        at = sum(self._coming[-1][1:]) if self._coming else offset
        while len(self._coming) < self._ahead and (at < self.until or not self._coming):
            end = wanted if at < wanted else max(self.until, at + 1)
            size = min(_PIECE, end - at)
            self._coming.append((self._begin(size, at), at, size))
            at += size
