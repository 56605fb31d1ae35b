"""One command to be measured, and its life from start to end.

Rule of the file: no command outlives the call that started it, whatever ends that call.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import IO


class WorkFailed(Exception):
    """A command ended with an exit status other than 0."""


@dataclass(frozen=True)
class Work:
    """A command, and the processes beside it that do its work.

    ``behind`` is the root of a process tree whose CPU time is spent for this command too; ``carries`` the root of the
    tree whose memory counts instead of the command's own. Both are process ids, None for a self-contained command.
    """

    command: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: str | None = None
    behind: int | None = None
    carries: int | None = None


class Running:
    """A started command, leader of its own process group."""

    def __init__(self, work: Work, words: IO[bytes]) -> None:
        self._work = work
        self._words = words
        self._ended = False
        self._process = subprocess.Popen(
            work.command,
            env={**os.environ, **work.env},
            cwd=work.cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=words,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """Process id, and id of the group."""
        return self._process.pid

    def finish(self, limit: float) -> resource.struct_rusage | None:
        """Wait for the end and return what it used, descendants that it waited for included.

        None when it ran longer than ``limit`` seconds and was killed. Raises ``WorkFailed``.
        """
        killed = threading.Event()

        def end() -> None:
            killed.set()
            self.kill()

        timer = threading.Timer(limit, end)
        timer.start()
        try:
            _, status, usage = os.wait4(self.pid, 0)
        finally:
            timer.cancel()
        self._ended = True
        self._process.returncode = os.waitstatus_to_exitcode(status)
        if killed.is_set():
            return None
        self._must_be_well(self._process.returncode)
        return usage

    def is_over(self, *, within: float) -> bool:
        """Wait up to ``within`` seconds and say whether it has ended. Raises ``WorkFailed``."""
        try:
            code = self._process.wait(within)
        except subprocess.TimeoutExpired:
            return False
        self._ended = True
        self._must_be_well(code)
        return True

    def kill(self) -> None:
        """End the whole group now; a group that is gone is no error."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    def close(self) -> None:
        """Kill and reap what still runs."""
        if not self._ended:
            self.kill()
            self._process.wait()
            self._ended = True

    def _must_be_well(self, code: int) -> None:
        if code:
            self._words.seek(0)
            last = self._words.read()[-2000:].decode(errors="replace")
            raise WorkFailed(f"{' '.join(self._work.command)} failed ({code}): {last}")


@contextlib.contextmanager
def started(work: Work) -> Iterator[Running]:
    """Start a command; on the way out nothing of its group is left."""
    with tempfile.TemporaryFile() as words:
        running = Running(work, words)
        try:
            yield running
        finally:
            running.close()


def run(*command: str, env: Mapping[str, str] | None = None, cwd: str | None = None) -> None:
    """Run a command that is not measured, to its end. Raises ``WorkFailed``."""
    with started(Work(command, env or {}, cwd)) as running:
        running.finish(limit=threading.TIMEOUT_MAX)
