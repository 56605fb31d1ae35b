"""A stretch of a point's order: what one part of a backup in shards is about.

Borders are paths, not lists of folders: whatever appears, vanishes or moves while several workers scan, every path
belongs to exactly one part, and the parts in order are the point.

Rule of the file: text only; nothing here looks at a source.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from shared.vault.entry import sort_key


class Span(msgspec.Struct, frozen=True, array_like=True):
    """The paths from ``begin`` up to, and without, ``end``, in the order of a point. An empty one is no border."""

    begin: bytes = b""
    end: bytes = b""

    @property
    def everything(self) -> bool:
        """Whether there is no border."""
        return not self.begin and not self.end

    def holds(self, path: bytes) -> bool:
        """Tell whether a node belongs here."""
        key = sort_key(path)
        return key >= sort_key(self.begin) and (not self.end or key < sort_key(self.end))

    def reaches(self, path: bytes) -> bool:
        """Tell whether a node, or anything that may be below it, belongs here."""
        if not path:
            return True
        key = sort_key(path)
        # Everything below begins with the key and a zero byte.
        return key + b"\1" > sort_key(self.begin) and (not self.end or key < sort_key(self.end))

    def covers(self, path: bytes) -> bool:
        """Tell whether a node and all that may be below it belong here."""
        if not path:
            return self.everything
        key = sort_key(path)
        return key >= sort_key(self.begin) and (not self.end or key + b"\1" <= sort_key(self.end))


EVERYTHING = Span()


def spans_between(borders: Sequence[bytes]) -> list[Span]:
    """Return the spans that these paths (in order, none twice, none empty) cut everything into."""
    return [Span(begin, end) for begin, end in zip([b"", *borders], [*borders, b""], strict=True)]
