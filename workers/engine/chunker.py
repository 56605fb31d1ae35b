"""Cuts large files into content-defined chunks with bounded memory.

FastCDC with 512 KiB / 2 MiB / 8 MiB and a gear table seeded by the key domain, so that cut points tell nothing to those
without the key. Cut points depend on content only: the same bytes are cut the same way whatever the buffer, because
a cut is taken only when a whole maximum-size chunk (or the end of the data) was in view.

Rule of the file: never mmap a live source (it may shrink), never the pure-Python chunker (two hundred times slower).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pyfastcdc.cy import FastCDC

MIN_CHUNK = 512 * 1024
AVERAGE_CHUNK = 2 * 1024 * 1024
MAX_CHUNK = 8 * 1024 * 1024
_BUFFER = 2 * MAX_CHUNK


class Cutter:
    """One chunker and its 16 MiB buffer, for one thread at a time; made once and reused for many files."""

    def __init__(self, seed: int) -> None:
        self._cdc = FastCDC(AVERAGE_CHUNK, min_size=MIN_CHUNK, max_size=MAX_CHUNK, normalized_chunking=2, seed=seed)
        self._buffer: memoryview | None = None

    def rounds(self, fill: Callable[[memoryview], int]) -> Iterator[list[memoryview]]:
        """Yield lists of consecutive chunks until ``fill`` has no more.

        ``fill`` writes the next bytes into the view it is given and returns how many, 0 at the end and only there.
        The chunks of a list are valid until the next one is asked for.
        """
        if self._buffer is None:
            self._buffer = memoryview(bytearray(_BUFFER))
        buffer, held, ended = self._buffer, 0, False
        while not ended:
            while held < _BUFFER:
                got = fill(buffer[held:])
                if got == 0:
                    ended = True
                    break
                held += got
            chunks, used = self._cut(buffer[:held], ended=ended)
            if chunks:
                yield chunks
            rest = held - used
            buffer[:rest] = bytes(buffer[used:held])
            held = rest

    def _cut(self, view: memoryview, *, ended: bool) -> tuple[list[memoryview], int]:
        chunks: list[memoryview] = []
        used = 0
        for chunk in self._cdc.cut_buf(view):
            if not ended and len(view) - used < MAX_CHUNK:
                break  # the end of the view may have cut this one short
            chunks.append(view[used : used + chunk.length])
            used += chunk.length
        return chunks, used
