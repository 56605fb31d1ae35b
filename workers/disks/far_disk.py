"""A disk as the process without rights has it: whoever started it is asked for the bytes.

Rule of the file: small reads come in pages that are kept for a while; large ones go by them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

_PAGE = 64 * 1024
_KEPT = 512  # pages of all reads of one disk: 32 MiB
_LARGE = 4 * _PAGE
_MOST = 4 * 1024 * 1024

Fetch = Callable[[int, int, int], bytes]
"""Fetches bytes: number of the disk, offset, length."""


class FarDisk:
    """A volume whose bytes somebody else has."""

    def __init__(self, number: int, size: int, fetch: Fetch) -> None:
        self.size = size
        self._number, self._fetch = number, fetch
        self._pages: OrderedDict[int, bytes] = OrderedDict()

    def read(self, offset: int, length: int) -> bytes:
        """See ``Volume``."""
        length = min(length, self.size - offset)
        if length <= 0 or offset < 0:
            return b""
        first, inside = divmod(offset, _PAGE)
        if inside + length <= _PAGE:
            return self._page(first)[inside : inside + length]
        if length >= _LARGE:
            steps = range(offset, offset + length, _MOST)
            return b"".join(self._fetch(self._number, at, min(_MOST, offset + length - at)) for at in steps)
        last = (offset + length - 1) // _PAGE
        data = b"".join(self._page(number) for number in range(first, last + 1))
        return data[inside : inside + length]

    def where(self, offset: int, length: int) -> list[tuple[int, int, int]]:
        """See ``Volume``."""
        return [(self._number, offset, length)]

    def _page(self, number: int) -> bytes:
        page = self._pages.get(number)
        if page is None:
            at = number * _PAGE
            page = self._fetch(self._number, at, min(_PAGE, self.size - at))
            self._pages[number] = page
            if len(self._pages) > _KEPT:
                self._pages.popitem(last=False)
        else:
            self._pages.move_to_end(number)
        return page
