"""Decides whether a backup is cut into parts, and where.

Where a point is there to go by (the one to compare with, or any earlier one of the item), its pages tell how many
entries lie where, and borders are first paths of pages: every part compares whole pages, and a huge directory is cut as
well. For an item's first backup a survey of the upper folders has to do; then borders are folders.

More parts than workers: the sizes are guesses, and whoever is quick takes one more.

Rule of the file: pure; a bad plan costs time and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from shared.vault.point import PageRef
from workers.engine.ports import Survey
from workers.engine.span import Span, spans_between

SHARD_ENTRIES = 200_000

_PER_WORKER = 4
_MOST_ENTRIES = 500_000
_MOST_PARTS = 256
_SMALLEST_SHARE = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharding:
    """From which size on a backup is shared out. A part has at least an eighth of that many entries."""

    entries: int = SHARD_ENTRIES
    survey_folders: int = 1024
    """How many folders a survey may list: what an item's first backup pays when there are helpers."""


def parts_of(entries: int, *, workers: int, sharding: Sharding) -> int:
    """Return into how many parts to cut so many entries for so many workers; 1 is not at all."""
    if entries < sharding.entries or workers < 2:
        return 1
    wanted = max(_PER_WORKER * workers, ceil(entries / _MOST_ENTRIES))
    return max(1, min(wanted, _MOST_PARTS, _SMALLEST_SHARE * entries // max(1, sharding.entries)))


def spans_of_pages(pages: Sequence[PageRef], *, workers: int, sharding: Sharding) -> list[Span]:
    """Return the parts by the pages of a point."""
    parts = parts_of(sum(page.entries for page in pages), workers=workers, sharding=sharding)
    return spans_between(_borders([(page.first, page.entries) for page in pages], parts))


def spans_of_survey(survey: Survey, *, workers: int, sharding: Sharding) -> list[Span]:
    """Return the parts by a survey. One that was cut off before its end has seen a large item."""
    seen = sum(entries for _, entries in survey.folders)
    unseen = sum(1 for _, entries in survey.folders if not entries) if survey.cut_off else 0
    typical = max(1, seen // max(1, len(survey.folders) - unseen))
    weights = [(path, entries or (typical if survey.cut_off else 0)) for path, entries in survey.folders]
    total = sum(weight for _, weight in weights)
    if survey.cut_off:
        total = max(total, sharding.entries)
    return spans_between(_borders(weights, parts_of(total, workers=workers, sharding=sharding)))


def _borders(pieces: Sequence[tuple[bytes, int]], parts: int) -> list[bytes]:
    """Return the first paths of all parts but the first: consecutive pieces of about the same weight together."""
    total = sum(weight for _, weight in pieces)
    borders: list[bytes] = []
    before = part = 0
    for path, weight in pieces:
        # A piece belongs to the part that its middle falls into.
        here = (2 * before + weight) * parts // (2 * total) if total else 0
        if here > part and before:
            borders.append(path)
            part = here
        before += weight
    return borders
