"""Keeps this process's leases alive, and stops the work when it is no longer trusted.

The protocol in prose. The tower gives a unit away when its lease (60 s, by the database's clock) has run out and a
margin has passed. This process trusts itself for a shorter time (``stop_after``, 40 s), counted on its own monotonic
clock from *before* the last renewal that the tower confirmed. Engines ask ``Tenure.check()`` between any two steps
that matter, so a paused process (SIGSTOP, a frozen virtual machine) finds out at its first step after waking, whether
or not this thread has run. One call renews all units of the process.

How often: never later than the tower asks (``renew_every``). A young unit renews more often, every fifth of its age
down to one second, so that people see progress and cancellation at once and a nine-hour backup costs next to nothing.

Rule of the file: it never touches a vault and never ends a unit; it only says so.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

import structlog

from shared.clock import Clock
from shared.contracts.work import Fence, Granted, Heartbeat, Progress, Renew, Renewed
from shared.errors import SkyharborError
from shared.model.bandwidth import BandwidthPlan
from workers.engine.ports import Stop, StopReason

log = structlog.get_logger()

_YOUNGEST = 1.0
_AGE_SHARE = 5.0
_TICK = 0.25
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 2.0

RenewCall = Callable[[Renew], Renewed]
CommitCall = Callable[[Fence], None]
BandwidthCall = Callable[[Mapping[str, BandwidthPlan]], None]
BeatCall = Callable[[float], None]
"""Hears that a thread goes on, and after how many seconds it will say so again if nothing takes long."""


class Tenure:
    """One unit's right to go on: the engine's ``Control``.

    ``check`` costs two attribute reads and a clock call. ``progress`` keeps only the latest value.
    """

    def __init__(self, granted: Granted, *, clock: Clock, trusted_until: float, commit: CommitCall) -> None:
        self.fence = granted.fence
        self._granted = granted
        self._clock = clock
        self._commit = commit
        self._stop: StopReason | None = None
        self._trusted_until = trusted_until
        self.began = clock.monotonic()
        self.renewed_at = self.began
        self.latest = Progress()

    def check(self) -> None:
        """Raise ``Stop`` when the tower cancelled, drained or took back the unit, or has been silent for too long."""
        if self._stop is not None:
            raise Stop(self._stop)
        if self._clock.monotonic() > self._trusted_until:
            raise Stop(StopReason.LOST)

    def progress(self, progress: Progress) -> None:
        """Remember where the unit is; it travels with the next renewal."""
        self.latest = progress

    def commit(self) -> None:
        """Ask the tower for leave to seal; ``stale-claim`` or ``cancelled`` mean do not.

        A tower that is away, as in a restart, is asked again for as long as the unit may be trusted: to fail now would
        burn an attempt whose work is done. Then, or told to stop meanwhile, it raises what ``check`` raises.
        """
        pause = _FIRST_PAUSE
        while True:
            self.check()
            try:
                self._commit(self.fence)
            except SkyharborError as error:
                if error.code != "server-unreachable":
                    raise
                log.warning("commit-unanswered", job=self.fence.job_id, detail=error.detail)
            else:
                return
            self._clock.sleep(pause)
            pause = min(_LONGEST_PAUSE, pause * 2)

    def stop(self, reason: StopReason) -> None:
        """Make the next ``check`` raise. The first reason stays, except that ``LOST`` overrides all."""
        if self._stop is None or reason is StopReason.LOST:
            self._stop = reason

    def renewed(self, *, asked_at: float) -> None:
        """Trust the unit again for ``stop_after`` seconds from the moment before the tower was asked."""
        self._trusted_until = asked_at + self._granted.stop_after
        self.renewed_at = asked_at

    def due(self, now: float) -> bool:
        """Whether this unit wants a renewal now."""
        every = min(self._granted.renew_every, max(_YOUNGEST, (now - self.began) / _AGE_SHARE))
        return now - self.renewed_at >= every


class LeaseKeeper:
    """Renews the leases of all units that this process holds, in a thread of its own."""

    def __init__(
        self,
        renew: RenewCall,
        *,
        worker: str,
        session: str,
        clock: Clock,
        on_drain: Callable[[], None],
        on_bandwidth: BandwidthCall = lambda _: None,
        beat: BeatCall = lambda _: None,
    ) -> None:
        self._renew = renew
        self._on_drain = on_drain
        self._on_bandwidth = on_bandwidth
        self._beat = beat
        self._draining = False
        self._worker = worker
        self._session = session
        self._clock = clock
        self._tenures: dict[Fence, Tenure] = {}
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._ended = threading.Event()
        self._last_call = clock.monotonic()
        self._idle_every = 15.0
        self._thread = threading.Thread(target=self._run, name="lease-keeper", daemon=True)

    def start(self, *, idle_every: float) -> None:
        """Begin; with no unit in hand the tower still hears from this process every ``idle_every`` seconds."""
        self._idle_every = idle_every
        self._thread.start()

    def hold(self, granted: Granted, *, asked_at: float, commit: CommitCall) -> Tenure:
        """Take a freshly granted unit into care; ``asked_at`` is the monotonic time before the claim was sent."""
        tenure = Tenure(granted, clock=self._clock, trusted_until=asked_at + granted.stop_after, commit=commit)
        with self._lock:
            self._tenures[granted.fence] = tenure
            if self._draining:
                tenure.stop(StopReason.DRAIN)
        self._wake.set()
        return tenure

    def drop(self, tenure: Tenure) -> None:
        """Forget a unit that has ended."""
        with self._lock:
            self._tenures.pop(tenure.fence, None)

    def drain(self) -> None:
        """Ask every unit in hand to stop and be given back, and every unit that is still to come as well."""
        with self._lock:
            self._draining = True
            for tenure in self._tenures.values():
                tenure.stop(StopReason.DRAIN)

    def end(self) -> None:
        """Stop renewing; a call under way is waited for. Units still held run out of trust by themselves."""
        self._ended.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._ended.is_set():
            now = self._clock.monotonic()
            with self._lock:
                tenures = list(self._tenures.values())
            if any(tenure.due(now) for tenure in tenures) or now - self._last_call >= self._idle_every:
                try:
                    self._renew_all(tenures)
                except Exception:  # without this thread every unit of the process would lose its lease
                    log.exception("renewal-crashed", units=len(tenures))
            pause = _TICK if tenures else 1.0
            self._beat(pause)
            self._wake.wait(pause)
            self._wake.clear()

    def _renew_all(self, tenures: list[Tenure]) -> None:
        asked_at = self._last_call = self._clock.monotonic()
        beats = tuple(Heartbeat(fence=tenure.fence, progress=tenure.latest) for tenure in tenures)
        try:
            reply = self._renew(Renew(worker=self._worker, session=self._session, units=beats))
        except SkyharborError as error:
            log.warning("renewal-failed", code=error.code, detail=error.detail, units=len(beats))
            for tenure in tenures:
                tenure.renewed_at = asked_at  # ask again at the usual pace; the trust is not extended
            return
        verdicts = {(answer.job_id, answer.unit): answer.verdict for answer in reply.units}
        for tenure in tenures:
            self._apply(tenure, verdicts.get((tenure.fence.job_id, tenure.fence.unit)), asked_at)
        self._on_bandwidth(reply.bandwidth)
        if reply.drain and not self._draining:
            log.warning("told-to-drain")
            self.drain()
            self._on_drain()

    def _apply(self, tenure: Tenure, verdict: str | None, asked_at: float) -> None:
        """Act on the tower's word; silence about a unit extends nothing."""
        if verdict == "lost":
            tenure.stop(StopReason.LOST)
        elif verdict is None:
            tenure.renewed_at = asked_at
        else:
            tenure.renewed(asked_at=asked_at)
            if verdict == "cancel":
                tenure.stop(StopReason.CANCELLED)
