"""In what order to read many chunks: grouped by the segment they are in.

Rule of the file: values only; ``reader`` makes plans and carries them out.
"""

from __future__ import annotations

from dataclasses import dataclass

from shared.vault.chunk_table import SegmentRef


@dataclass(frozen=True, slots=True)
class PlannedChunk:
    """One use of a chunk: ``position`` counts the ids that were given to ``plan``."""

    position: int
    chunk_id: bytes
    raw_offset: int
    raw_length: int


@dataclass(frozen=True, slots=True)
class PlannedSegment:
    """A segment and all that is wanted of it."""

    ref: SegmentRef
    chunks: tuple[PlannedChunk, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """Segments by pack and offset, and the positions of ids that no known pack holds."""

    segments: tuple[PlannedSegment, ...]
    missing: tuple[int, ...]
