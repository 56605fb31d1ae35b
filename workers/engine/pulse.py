"""The steady beat of a long unit: may it go on, where is it, is it time to secure what is there.

Rule of the file: cheap enough to be called a thousand times a second; acts only when something is due.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from shared.clock import Clock
from shared.contracts.work import Progress
from shared.vault.writer import PointWriter
from workers.engine.ports import Control
from workers.engine.tally import Tally


class Pulse:
    """Checks, reports and checkpoints for a backup. Used by one thread.

    ``secure`` makes everything given so far durable and index it; it may call ``beat`` while it waits.
    """

    PATIENCE: Final = 0.2
    """Seconds that a waiting loop may let pass between two beats."""

    def __init__(
        self,
        *,
        control: Control,
        clock: Clock,
        writer: PointWriter,
        secure: Callable[[], None],
        expected: tuple[int, int],
        checkpoint_every: float,
    ) -> None:
        self._control = control
        self._now: Callable[[], float] = clock.monotonic
        self._writer = writer
        self._secure = secure
        self._files_total, self._bytes_total = expected
        self._checkpoint_every = checkpoint_every
        self._next_report = 0.0
        self._next_checkpoint = clock.monotonic() + checkpoint_every

    def beat(self, tally: Tally, phase: str = "reading") -> None:
        """Raise ``Stop`` when told to; report a few times a second; checkpoint every few minutes."""
        self._control.check()
        now = self._now()
        if now >= self._next_report or phase != "reading":
            self._next_report = now + self.PATIENCE
            self._control.progress(self._position(tally, phase))
        if now >= self._next_checkpoint:
            self._next_checkpoint = now + 10 * self._checkpoint_every  # not again while this one is under way
            self._secure()
            self._next_checkpoint = self._now() + self._checkpoint_every

    def _position(self, tally: Tally, phase: str) -> Progress:
        return Progress(
            phase=phase,
            files_done=tally.files,
            files_total=self._files_total,
            bytes_done=max(tally.bytes, tally.bytes_read),
            bytes_total=self._bytes_total,
            bytes_transferred=self._writer.bytes_transferred,
        )
