"""The composition root of the data plane: the only file that knows every adapter.

Rule of the file: wiring and process life, no rules.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import structlog
from celery import Celery, signals

import shared
from shared.broker_check import refuse_evicting_broker
from shared.clock import SystemClock
from shared.contracts.doorbell import QUEUE, TASK
from shared.contracts.work import Granted, Hello, Welcome
from shared.crypto.keyring import Keyring
from shared.errors import SkyharborError
from shared.model.ids import new_id
from shared.pulse import Pulse
from shared.telemetry.logging import configure_logging
from workers.app import make_app
from workers.crew.chief import Chief
from workers.crew.processes import ReadingProcesses, WritingProcesses
from workers.engine.ports import Elsewhere, Stop
from workers.guarding.client import GuardLine
from workers.session.desk import TowerDesk
from workers.session.formation import TowerFormation
from workers.session.lease_keeper import LeaseKeeper, Tenure
from workers.session.lock import hold_name
from workers.session.reporter import give_back, report
from workers.session.seats import Seats
from workers.session.throttles import Throttles
from workers.session.tower import TowerClient
from workers.settings import WorkerSettings, hands_environment
from workers.sources.freezing.here import Here
from workers.sources.journal.client import JournalLine
from workers.sources.opening import LANDERS, borrow, open_session, open_source
from workers.tasks.flight import Hangar, Ties, fly
from workers.tasks.unit import register

log = structlog.get_logger()

_DRAIN_PATIENCE = 20.0
_LAST_WORDS_SECONDS = 35.0  # an outcome is worth more than a quick end; compose gives 45
_GOODBYE_SECONDS = 5.0
_MOST_HANDS = 16


class WorkerProcess:
    """One worker process: its name lock, session, lease keeper and seats."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self._clock = SystemClock()
        self._session = new_id()
        self._drain_began: float | None = None
        self._pulse = Pulse(settings.ready_file)
        self._lock = hold_name(settings.state, settings.name)
        self._tower = TowerClient(settings.tower_url, settings.worker_token)
        self._chief = Chief(hands_environment(), log_file=settings.log_file)
        self._guard = GuardLine(hands_environment(), log_file=settings.log_file)
        throttles = Throttles(os.path.join(settings.state, "bandwidth"), clock=self._clock)
        self._journal = JournalLine(hands_environment(), log_file=settings.log_file)
        here = Here(programs=settings.hooks, journal=self._journal)
        self._hangar = Hangar(
            keyring=Keyring(settings.keyring),
            cache=os.path.join(settings.state, "cache"),
            folder=os.path.join(settings.state, "sources"),
            open_session=functools.partial(open_session, here=here),
            open_source=open_source,
            borrow=functools.partial(borrow, guard=self._guard),
            landers=LANDERS,
            guard=self._guard,
            clock=self._clock,
            muster_readers=lambda work, writer: ReadingProcesses(self._chief, work, writer, count=_hands()),
            muster_writers=lambda work, finder: WritingProcesses(self._chief, work, finder, count=_hands()),
            throttle=throttles.of,
            shard_entries=settings.shard_entries,
        )
        self._keeper = LeaseKeeper(
            self._tower.renew,
            worker=settings.name,
            session=self._session,
            clock=self._clock,
            on_drain=_ask_to_end,
            on_bandwidth=throttles.learn,
            beat=self._beat("lease keeper"),
        )
        self.seats = Seats(
            concurrency=settings.concurrency,
            worker=settings.name,
            session=self._session,
            claim=self._tower.claim,
            fly=self._fly,
            clock=self._clock,
            beat=self._beat("idle poll"),
        )

    def open(self) -> None:
        """Say hello until the tower answers, then renew and poll. Blocks while the tower is away."""
        self._chief.start()
        welcome = self._hello()
        log.info("worker-ready", worker=self._settings.name, session=self._session, released=welcome.released)
        self._keeper.start(idle_every=welcome.renew_every)
        self.seats.start_polling(every=welcome.poll_every)

    def say_ready(self) -> None:
        """Tell whoever started this process that it works."""
        self._pulse.open()

    def drain(self) -> None:
        """Take no more work, stop what flies at its next step and give it back to the tower. May be repeated."""
        if self._drain_began is None:
            self._drain_began = self._clock.monotonic()
        self.seats.close()
        self._keeper.drain()

    def close(self) -> None:
        """Drain, wait for the flights to end, then let go of everything. Idempotent, and safe from two threads."""
        self.drain()
        self.seats.wait_until_empty(patience=_DRAIN_PATIENCE)
        self._keeper.end()
        self._pulse.close()
        self._chief.close()
        self._guard.close()
        self._journal.close()
        self._tower.close()

    def _hello(self) -> Welcome:
        pause = 0.1
        while True:
            message = Hello(
                worker=self._settings.name,
                session=self._session,
                version=shared.VERSION,
                concurrency=self._settings.concurrency,
                clock=self._clock.now().isoformat().replace("+00:00", "Z"),
            )
            try:
                return self._tower.hello(message)
            except SkyharborError as error:
                if error.code != "server-unreachable":
                    raise
                log.warning("tower-away", detail=error.detail)
                self._clock.sleep(pause)
                pause = min(5.0, pause * 2)

    def _fly(self, granted: Granted, asked_at: float) -> None:
        fence = granted.fence
        tenure = self._keeper.hold(granted, asked_at=asked_at, commit=self._tower.commit)
        try:
            desk = TowerDesk(self._tower, fence, tenure, clock=self._clock)
            ties = Ties(desk=desk, formation=self._formation(granted, tenure))
            outcome = fly(granted, tenure, self._hangar, ties)
            if outcome is not None:
                report(self._tower.complete, fence, outcome, clock=self._clock, patience=granted.lease)
        except (Stop, Elsewhere) as reason:
            if isinstance(reason, Elsewhere):
                log.info("shard-declined", job=fence.job_id, unit=fence.unit, why=str(reason))
                self.seats.pass_over(fence)
            patience = min(granted.lease, self._left_to_drain())
            give_back(self._tower.release, fence, clock=self._clock, patience=patience)
        finally:
            self._keeper.drop(tenure)

    def _formation(self, granted: Granted, tenure: Tenure) -> TowerFormation:
        return TowerFormation(
            self._tower,
            self._keeper,
            granted,
            tenure,
            worker=self._settings.name,
            session=self._session,
            clock=self._clock,
        )

    def _beat(self, loop: str) -> Callable[[float], None]:
        return lambda pause: self._pulse.promise(loop, within=pause + self._settings.hang_seconds)

    def _left_to_drain(self) -> float:
        """Seconds that a unit may still take to be given back: whoever stops us does not wait for ever."""
        began = self._drain_began
        return _DRAIN_PATIENCE if began is None else max(0.0, began + _DRAIN_PATIENCE - self._clock.monotonic())


def run(settings: WorkerSettings) -> int:
    """Run a worker until it is told to stop; the exit status."""
    configure_logging(log_file=settings.log_file, process="worker")
    refuse_evicting_broker(settings.broker_url)
    process = WorkerProcess(settings)
    try:
        process.open()
        app = make_app(settings.broker_url, events=settings.task_events)
        register(app, name=TASK, answer=process.seats.answer)
        _drain_on_shutdown(process)
        _tell_when_ready(process.say_ready)
        _serve(app, settings)
    finally:
        process.close()
    return 0


def _hands() -> int:
    """How many processes one unit may use: as many as this one may use cores, within reason."""
    return min(_MOST_HANDS, len(os.sched_getaffinity(0)))


def _ask_to_end() -> None:
    """The tower told this process to drain (a newer one has its name): end as if somebody had sent SIGTERM."""
    os.kill(os.getpid(), signal.SIGTERM)


def _drain_on_shutdown(process: WorkerProcess) -> None:
    @signals.worker_shutting_down.connect(weak=False)
    def shutting_down(**_: Any) -> None:
        process.drain()
        threading.Thread(target=_end_in_time, args=(process,), name="last-word", daemon=True).start()


def _end_in_time(process: WorkerProcess) -> None:
    """End this process when its units have ended, and Celery still waits for a broker that does not say goodbye.

    Over a line that has fallen silent that takes a minute. Nothing is lost with it: what lies in the broker is a hint.
    """
    process.seats.wait_until_empty(patience=_LAST_WORDS_SECONDS)
    time.sleep(_GOODBYE_SECONDS)
    log.warning("broker-not-told")
    process.close()
    os._exit(0)


def _tell_when_ready(say: Callable[[], None]) -> None:
    @signals.worker_ready.connect(weak=False)
    def ready(**_: Any) -> None:
        say()


def _serve(app: Celery, settings: WorkerSettings) -> None:
    """Run Celery's threads pool: units spend their time in C code that releases the interpreter's lock."""
    worker = functools.partial(
        app.Worker,
        hostname=f"{settings.name}@{os.uname().nodename}",
        pool="threads",
        concurrency=settings.concurrency,
        queues=[QUEUE],
        without_gossip=True,
        without_mingle=True,
        loglevel="WARNING",
        logfile=None,
        quiet=True,  # its banner is no log line
    )
    worker().start()


def main() -> int:
    """Read the settings and run; errors are one line and the registry's exit code.

    SIGTERM ends it at once, and in good order, until Celery takes the signal over. The handler is set because the first
    process of a container has no other way to be ended politely.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        return run(WorkerSettings.from_environment())
    except SkyharborError as error:
        print(f"error: {error} ({error.code})" + (f"\nhint: {error.hint}" if error.hint else ""), file=sys.stderr)  # noqa: T201
        return error.kind.exit_code
