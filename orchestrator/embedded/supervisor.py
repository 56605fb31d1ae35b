"""The root of the process tree: starts the parts in order, keeps them running, ends them in reverse.

Rule of the file: one thread, no timers of its own; it sleeps until a signal, a child's end or a pause runs out. It is
called with the home's lock held. Killed, it leaves nothing running: each child gets a parent-death signal, and the
guard ends whatever is left.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from types import FrameType

import structlog

from orchestrator.embedded import guard
from orchestrator.embedded.home import Home
from orchestrator.embedded.part import MARK, Part, rotate
from orchestrator.embedded.plan import Plan
from orchestrator.embedded.processes import end_marked
from orchestrator.embedded.record import StackRecord, remove_record, write_record
from orchestrator.embedded.runner import Runner
from shared.clock import Clock
from shared.errors import SkyharborError
from shared.model.ids import new_id
from shared.waiting import readable

_log = structlog.get_logger(__name__)

_START_SECONDS = 60.0
_OPTIONAL_SECONDS = 20.0
_POLL = 0.05
_ATTEND_EVERY = 1.0


def stopped_while_starting() -> SkyharborError:
    """Return what ``up`` says when somebody ends the stack before it is ready."""
    return SkyharborError(
        "stack-start-failed", "it was stopped while starting", hint="Nothing is wrong; start it again when you want it."
    )


class Supervisor:
    """One run of the stack in one home."""

    def __init__(self, home: Home, plan: Plan, *, clock: Clock) -> None:
        self._home = home
        self._plan = plan
        self._clock = clock
        self._mark = f"{home.id}/{new_id()}"
        self._runners: list[Runner] = []
        self._guard: subprocess.Popen[bytes] | None = None
        self._stop: signal.Signals | None = None
        self._warnings: list[str] = []

    def run(self, *, announce: Callable[[StackRecord], None]) -> None:
        """Start everything, announce it, and return when SIGINT or SIGTERM has ended it in good order.

        Raises what kept a needed part from starting, or what any part refused, after everything else was stopped again;
        also when the signal comes before everything has started. Main thread only.
        """
        with self._signals() as wait:
            try:
                self._start_guard()
                self._start(wait)
                announce(self._publish())
                while self._stop is None:
                    wait(_ATTEND_EVERY)
                    self._attend()
            finally:
                self._end()

    # ── starting ──────────────────────────────────────────────────────────────────────────────────

    def _start(self, wait: Callable[[float], None]) -> None:
        self._end_leftovers()
        remove_record(self._home.record)
        for stage in self._plan.stages:
            self._start_all(stage())
            needed = [runner for runner in self._runners if runner.part.needed]
            for late in self._wait_until_ready(wait, needed, seconds=_START_SECONDS):
                raise late.failure(f"it did not answer within {_START_SECONDS:.0f} s")
        optional = [runner for runner in self._runners if not runner.part.needed]
        for late in self._wait_until_ready(wait, optional, seconds=_OPTIONAL_SECONDS):
            _log.warning("part-late", part=late.part.name)
            self._warnings.append(f"{late.part.name} has not reported yet; see {late.part.log}")

    def _start_all(self, parts: Sequence[Part]) -> None:
        for part in parts:
            runner = Runner(part, mark=self._mark, clock=self._clock)
            self._runners.append(runner)
            runner.start()

    def _wait_until_ready(
        self, wait: Callable[[float], None], runners: Sequence[Runner], *, seconds: float
    ) -> list[Runner]:
        """Wait for ``runners``; return those that were not ready in time. A part without hope raises."""
        deadline = self._clock.monotonic() + seconds
        missing = [runner for runner in runners if not runner.is_ready()]
        while missing and self._clock.monotonic() < deadline:
            wait(_POLL)
            if self._stop is not None:
                raise KeyboardInterrupt if self._stop is signal.SIGINT else stopped_while_starting()
            for runner in self._runners:
                runner.attend()
                runner.check_hope()
            missing = [runner for runner in missing if not runner.is_ready()]
        return missing

    def _end_leftovers(self) -> None:
        """End what a killed supervisor of this home left, whose guard was killed too."""
        deadline = self._clock.monotonic() + 10.0
        while end_marked(self._home.id, spare="postgres"):  # PostgreSQL's own preparation waits for an old server
            if self._clock.monotonic() > deadline:
                raise SkyharborError("stack-start-failed", "processes of an earlier run do not end")
            self._clock.sleep(_POLL)

    # ── running ───────────────────────────────────────────────────────────────────────────────────

    def _attend(self) -> None:
        if self._guard is not None and self._guard.poll() is not None:
            _log.warning("guard-ended", status=self._guard.returncode)
            self._start_guard()
        rotate(self._home.log("supervisor"))
        changed = [runner.attend() for runner in self._runners]  # every one, so no short cut
        if any(changed):
            self._publish()

    def _publish(self) -> StackRecord:
        record = self._plan.describe()
        record = StackRecord(
            pid=os.getpid(),
            url=record.url,
            port=record.port,
            started_at=record.started_at,
            version=record.version,
            versions=record.versions,
            flower=record.flower,
            processes=tuple(runner.record() for runner in self._runners),
            warnings=tuple(self._warnings),
        )
        write_record(self._home.record, record)
        return record

    # ── ending ────────────────────────────────────────────────────────────────────────────────────

    def _end(self) -> None:
        remove_record(self._home.record)
        for runner in reversed(self._runners):
            runner.stop()
        if self._guard is not None and self._guard.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._guard.stdin.write(b"q")
                self._guard.stdin.close()
            self._guard.wait()
        _log.info("stack-stopped")

    def _start_guard(self) -> None:
        if self._guard is not None and self._guard.stdin is not None:
            self._guard.stdin.close()
        self._guard = subprocess.Popen(
            [sys.executable, "-I", "-S", guard.__file__, f"{MARK}={self._mark}/"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            bufsize=0,
            cwd="/",
            env={},
        )

    @contextlib.contextmanager
    def _signals(self) -> Iterator[Callable[[float], None]]:
        """Take the signals that matter; yields a function that sleeps until one comes or the seconds are over."""
        reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

        def stop(number: int, _frame: FrameType | None) -> None:
            _log.info("stop-requested", signal=signal.Signals(number).name)
            self._stop = signal.Signals(number)

        def noticed(_number: int, _frame: FrameType | None) -> None:
            """Only wake the loop: the wake-up descriptor has a byte now."""

        def wait(seconds: float) -> None:
            if readable(reader, seconds=seconds):
                with contextlib.suppress(BlockingIOError):
                    os.read(reader, 4096)

        handlers = {signal.SIGINT: stop, signal.SIGTERM: stop, signal.SIGHUP: stop, signal.SIGCHLD: noticed}
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        wakeup = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        try:
            yield wait
        finally:
            signal.set_wakeup_fd(wakeup)
            for number, handler in before.items():
                signal.signal(number, handler)
            os.close(reader)
            os.close(writer)
