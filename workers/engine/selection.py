"""Which entries of a point a restore is about.

Rule of the file: reading entries only; nothing is written before every asked path was found.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from shared.errors import SkyharborError
from shared.vault.entry import Entry, EntryKind, sort_key
from shared.vault.reader import PointReader
from workers.engine.notices import shown


class Selection:
    """The asked paths of a point: absolute, a leading slash may be missing; none at all means everything.

    Raises ``path-not-in-point`` for the first path that the point does not have.
    """

    def __init__(self, reader: PointReader, paths: Sequence[str]) -> None:
        self._reader = reader
        asked = {os.fsencode(path).strip(b"/") for path in paths} or {b""}
        self._tops = _outermost(asked)
        self.everything = self._tops == [b""]
        protected = {os.fsencode(path).strip(b"/") for path in reader.body.paths}
        self._meant = _outermost(protected) if self.everything else self._tops
        for top in self._tops:
            if top and next(reader.entries_or_errors(top), None) is None:
                raise SkyharborError("path-not-in-point", shown(top))

    def entries(self) -> Iterator[Entry | SkyharborError]:
        """Yield the entries asked for in order, preceded by the directories above them.

        An error stands in the place of a page of entries that cannot be read.
        """
        told: set[bytes] = set()
        for top in self._tops:
            for above in _ancestors(top):
                if above not in told:
                    told.add(above)
                    yield from self._just(above)
            yield from self._reader.entries_or_errors(top)

    def is_only_above(self, path: bytes) -> bool:
        """Tell whether a directory comes along only because what was asked for (or protected) is below it."""
        return not any(top in (b"", path) or path.startswith(top + b"/") for top in self._meant)

    def _just(self, path: bytes) -> Iterator[Entry]:
        found = next(self._reader.entries_or_errors(path), None)
        if isinstance(found, Entry) and found.path == path and found.kind == EntryKind.DIRECTORY:
            yield found


def _outermost(asked: set[bytes]) -> list[bytes]:
    """Return the paths in order, without those below another one."""
    tops: list[bytes] = []
    for path in sorted(asked, key=sort_key):
        if not tops or not (tops[-1] == b"" or path.startswith(tops[-1] + b"/")):
            tops.append(path)
    return tops


def _ancestors(path: bytes) -> list[bytes]:
    parts = path.split(b"/")
    return [b"/".join(parts[:count]) for count in range(1, len(parts))]
