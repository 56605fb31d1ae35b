"""Ways to a source that a test has in hand already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from shared.contracts.sources import FilesSource
from workers.engine.doors import Doors
from workers.engine.plain_session import PlainSession
from workers.engine.ports import Source
from workers.sources.files import FilesAdapter, FilesReading
from workers.sources.opening import described


def doors_to(source: Source, paths: Sequence[str] = ()) -> Doors:
    """Lead to this very source, whatever the session says about how it is read."""
    return Doors(lambda _: PlainSession(b"", paths=paths), lambda _: source)


def doors_to_files(files: FilesSource) -> Doors:
    """Lead to files as a worker's own doors do."""
    return Doors(lambda _: PlainSession(reading_of(files), paths=files.paths), lambda _: FilesAdapter(files))


def reading_of(files: FilesSource) -> bytes:
    """Return how files are read by other processes."""
    return described(FilesReading(source=files))


class NoGuard:
    """The guard of tests that hold nothing which somebody else would have to undo."""

    def arm(self, kind: str, details: Mapping[str, str], *, within: float | None = None) -> int:
        raise AssertionError(f"nothing should be armed here: {kind} {details} {within}")

    def disarm(self, number: int) -> None:
        """Nothing is armed."""
