"""Keeps one part of the stack running: start, notice its end, wait a little longer each time, start again.

Rule of the file: it owns the process and nothing else, is called from the supervisor's one thread, and never blocks
but in ``stop``.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
from dataclasses import replace

import structlog

from orchestrator.embedded.part import MARK, Part, rotate, spawn, tail
from orchestrator.embedded.record import ProcessRecord
from shared.clock import Clock
from shared.errors import REGISTRY, SkyharborError

_log = structlog.get_logger(__name__)

_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 10.0
_SETTLED_AFTER = 30.0  # a process that lived so long starts with the first pause again
_HOPELESS_EXITS = 4
_REFUSAL = re.compile(r"error: (?P<said>.*) \((?P<code>[a-z-]+)\)")
"""How every program of ours ends that does not want to start, the command line included."""


class Runner:
    """One part and its process, if it has one now. ``mark`` is the beginning of its children's mark, ``home/run``."""

    def __init__(self, part: Part, *, mark: str, clock: Clock) -> None:
        self.part = part
        self._mark = mark
        self._clock = clock
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._since: str | None = None
        self._due: float | None = None
        self._pause = _FIRST_PAUSE
        self._exits_in_a_row = 0
        self._log_start = 0
        self.restarts = 0

    def start(self) -> None:
        """Start a process. Raises ``stack-start-failed`` when the part cannot even be prepared."""
        self._due = None
        self.part.prepare()
        rotate(self.part.log)
        self._log_start = os.path.getsize(self.part.log) if os.path.exists(self.part.log) else 0
        command = self.part.command()
        mark = f"{self._mark}/{self.part.name}"
        marked = replace(command, environment={**command.environment, MARK: mark})
        self._process = spawn(marked, log=self.part.log)
        self._started, self._since = self._clock.monotonic(), self._clock.now().isoformat().replace("+00:00", "Z")
        _log.info("part-started", part=self.part.name, child=self._process.pid)

    def attend(self) -> bool:
        """Reap a process that ended and start it again when its pause is over; whether anything changed.

        A log that has grown too long is shifted meanwhile.
        """
        if rotate(self.part.log):
            self._log_start = 0
        now = self._clock.monotonic()
        if self._process is not None and self._has_exited(self._process):
            self._bury(now)
            return True
        if self._process is None and self._due is not None and now >= self._due:
            self.restarts += 1
            try:
                self.start()
            except SkyharborError as error:
                _log.error("part-not-prepared", part=self.part.name, detail=error.detail)
                self._postpone(now)
            return True
        return False

    def is_ready(self) -> bool:
        """Whether a process is there and answers."""
        return self._process is not None and self.part.is_ready()

    def check_hope(self) -> None:
        """Raise when the part will not start by trying again.

        A program that refuses says so at the end of its log, as people read it (``error: ... (code)``): that code is
        raised. A needed part that ended several times without ever settling is ``stack-start-failed``.
        """
        refusal = self._refusal()
        if refusal is not None:
            raise refusal
        if self.part.needed and self._exits_in_a_row >= _HOPELESS_EXITS:
            raise self.failure("it ended again and again")

    def failure(self, what: str) -> SkyharborError:
        """Return the error that tells what happened to this part, with the end of its log."""
        return SkyharborError(
            "stack-start-failed", f"{self.part.name}: {what} ({self.part.log}):\n{tail(self.part.log)}"
        )

    def stop(self) -> None:
        """End it in good order, by force when its time is over, with everything in its session. Idempotent."""
        self._due = None
        if self._process is None:
            return
        process = self._process
        began = self._clock.monotonic()
        if not self._has_exited(process):
            process.send_signal(self.part.stop_signal)
            deadline = began + self.part.stop_seconds
            while not self._has_exited(process) and self._clock.monotonic() < deadline:
                self._clock.sleep(0.02)
            if not self._has_exited(process):
                _log.warning("part-killed", part=self.part.name, after=self.part.stop_seconds)
        self._kill_session(process)
        process.wait()
        self._process, self._since = None, None
        seconds = round(self._clock.monotonic() - began, 3)
        _log.info("part-stopped", part=self.part.name, status=process.returncode, seconds=seconds)

    def record(self) -> ProcessRecord:
        """Return what ``status`` shows."""
        pid = self._process.pid if self._process else None
        return ProcessRecord(name=self.part.name, pid=pid, since=self._since, restarts=self.restarts, log=self.part.log)

    def _bury(self, now: float) -> None:
        process = self._process
        if process is None:
            return
        self._kill_session(process)
        process.wait()
        lived = now - self._started
        if lived >= _SETTLED_AFTER:
            self._pause, self._exits_in_a_row = _FIRST_PAUSE, 0
        self._exits_in_a_row += 1
        self._process, self._since = None, None
        _log.warning("part-ended", part=self.part.name, status=process.returncode, lived=round(lived, 3),
                     restart_in=self._pause)  # fmt: skip
        self._postpone(now)

    def _postpone(self, now: float) -> None:
        self._due = now + self._pause
        self._pause = min(_LONGEST_PAUSE, self._pause * 2)

    def _refusal(self) -> SkyharborError | None:
        if self._process is not None or not self._exits_in_a_row:
            return None
        for line in reversed(tail(self.part.log, start=self._log_start).splitlines()):
            told = _REFUSAL.fullmatch(line)
            if told is not None and told["code"] in REGISTRY:
                detail = told["said"].removeprefix(REGISTRY[told["code"]].title).removeprefix(": ")
                return SkyharborError(told["code"], f"{self.part.name}: {detail}" if detail else "")
        return None

    @staticmethod
    def _has_exited(process: subprocess.Popen[bytes]) -> bool:
        """Whether it ended, without reaping it: until then its id, and that of its session, cannot be reused."""
        if process.returncode is not None:
            return True
        return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    @staticmethod
    def _kill_session(process: subprocess.Popen[bytes]) -> None:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
