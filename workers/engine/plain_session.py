"""The session of a source that nothing holds still: what is read is what is there at that moment.

Rule of the file: there is nothing to begin, so there is nothing to undo.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from shared.model.backup import Notice


class PlainSession:
    """The engine's ``Session`` over a description of what to read."""

    def __init__(self, reading: bytes, *, paths: Sequence[str], state: Mapping[str, str] | None = None) -> None:
        self.reading = reading
        self.paths = tuple(paths)
        self.state: Mapping[str, str] = state or {}

    def notices(self) -> Sequence[Notice]:
        """Nothing has to be said."""
        return ()

    def confirm(self) -> None:
        """Whatever was read was there."""

    def sealed(self) -> None:
        """Nothing has to be remembered."""

    def close(self) -> None:
        """Nothing is held."""
