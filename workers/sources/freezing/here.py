"""What a worker's machine gives to sessions of files.

Rule of the file: values only; the composition root fills them in.
"""

from __future__ import annotations

from dataclasses import dataclass

from workers.sources.journal.client import JournalLine


@dataclass(frozen=True, slots=True)
class Here:
    """``programs`` is the folder of programs that hooks may name, None for no hooks at all."""

    programs: str | None = None
    journal: JournalLine | None = None


NOTHING_HERE = Here()
