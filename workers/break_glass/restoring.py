"""A restore with nobody above it: its progress on the terminal, Ctrl-C as its only control, and its report.

Rule of the file: the engine does the work; here it is only watched, stopped and told about.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import msgspec
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, TaskID, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.progress import Progress as Bar

from shared.contracts.work import Progress, RestoreDone
from shared.errors import ExitCode
from shared.vault.reader import PointReader
from workers.break_glass.output import Output
from workers.engine.notices import shown
from workers.engine.ports import Control, Stop, StopReason


class Terminal:
    """A ``Control`` that shows the position on a bar, if there is one, and stops when a signal said so."""

    def __init__(self, bar: Bar | None) -> None:
        self._bar = bar
        self._task: TaskID | None = bar.add_task("restore", total=None) if bar else None
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Let the next ``check`` raise ``Stop``."""
        self._stopped.set()

    def check(self) -> None:
        """Raise ``Stop`` once ``stop`` was called."""
        if self._stopped.is_set():
            raise Stop(StopReason.CANCELLED)

    def progress(self, progress: Progress) -> None:
        """Move the bar."""
        if self._bar is None or self._task is None:
            return
        self._bar.update(
            self._task,
            completed=progress.bytes_done,
            total=progress.bytes_total or None,
            description=f"{progress.phase or 'restore'}: {progress.files_done:,} files",
        )

    def commit(self) -> None:
        """Agree; a restore seals nothing."""


@contextmanager
def watched() -> Iterator[Control]:
    """Give a control for one restore: a bar when stderr is a terminal, and a stop at the first SIGINT or SIGTERM.

    The second SIGINT ends the program at once. The handlers before it are put back.
    """
    with _bar() as bar:
        terminal = Terminal(bar)

        def on_signal(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature of a handler
            terminal.stop()
            signal.signal(signal.SIGINT, signal.default_int_handler)

        before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield terminal
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


@contextmanager
def _bar() -> Iterator[Bar | None]:
    if not sys.stderr.isatty():
        yield None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Bar(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as bar:
        yield bar


def tell(reader: PointReader, done: RestoreDone, *, target: str, seconds: float, out: Output) -> int:
    """Report what was restored and return the exit code. The JSON document has the shape of a finished job's.

    Damage that took everything, or took files without even leaving their names, is a failure, not a warning.
    """
    stats, warnings, body = done.stats, done.warnings, reader.body
    failed = _has_failed(done)
    out.document(
        {
            "kind": "restore",
            "state": "failed" if failed else "completed",
            "item": body.item_name,
            "point": reader.point.point_id,
            "target": target,
            "seconds": round(seconds, 3),
            "stats": msgspec.to_builtins(stats),
            "warnings": msgspec.to_builtins(warnings),
        }
    )
    out.text(f"point {reader.point.point_id} of {body.item_name}, sealed at {body.sealed_at[:19]} UTC")
    out.text(
        f"{stats.files_restored:,} files and {stats.directories_restored:,} folders restored to {target}, "
        f"{stats.files_skipped:,} files skipped, {stats.bytes_restored:,} bytes in {seconds:.1f} s"
    )
    for notice in warnings:
        out.say(f"warning: {notice.path}: {notice.message} ({notice.code})")
    if stats.warnings > len(warnings):
        out.say(f"warning: and {stats.warnings - len(warnings):,} more")
    if failed:
        out.say("error: the vault is damaged: nothing could be restored, or files are missing that cannot be named")
        return ExitCode.FAILED
    return ExitCode.WARNINGS if stats.warnings or warnings else ExitCode.DONE


def _has_failed(done: RestoreDone) -> bool:
    damaged = [notice.path for notice in done.warnings if notice.code == "damaged"]
    nothing = not done.stats.files_restored and not done.stats.files_skipped
    return bool(damaged) and (nothing or shown(b"") in damaged)
