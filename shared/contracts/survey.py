"""What the operator's side asks the worker's survey program, and what that answers: JSON on its stdin and stdout.

Nothing is read but directories and attributes. A failure is ``{"error": {code, message}}`` in the place of the answer.
"""

from __future__ import annotations

import msgspec

from shared.contracts.sources import FilesSource


class SurveyQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """What to look at, for how many seconds; ``leave_out`` are absolute folders never to enter, such as the vault."""

    source: FilesSource
    leave_out: tuple[str, ...] = ()
    seconds: float


class SurveyAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What is there, and what a first backup of it adds. Unless ``complete``, the time was up and all are lower bounds.

    Bytes are bytes. ``cache_bytes`` is what the worker's cache takes, ``metadata_bytes`` what the vault does.
    """

    complete: bool
    files: int
    directories: int
    bytes: int
    excluded: int
    warnings: int
    chunks: int
    cache_bytes: int
    metadata_bytes: int
