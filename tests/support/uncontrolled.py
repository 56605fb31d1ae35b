"""A unit that nobody may stop: the engine's ``Control`` for tests that are about something else."""

from __future__ import annotations

from shared.contracts.work import Progress


class Uncontrolled:
    """Never stops anything and always agrees."""

    def check(self) -> None:
        """Never stop."""

    def progress(self, progress: Progress) -> None:
        """Forget it."""

    def commit(self) -> None:
        """Always agree."""
