"""All loops of one tower process, and the ear that wakes them.

Rule of the file: wakings are hints; the intervals are the guarantee.
"""

from __future__ import annotations

import os
import random
import socket
import threading
from collections.abc import Callable

import structlog

from orchestrator.loops.dispatcher import Dispatcher
from orchestrator.loops.expirer import LOOK_SECONDS, Expirer
from orchestrator.loops.leader import TRY_SECONDS, Leader
from orchestrator.loops.looper import STEP_SECONDS, Looper
from orchestrator.loops.planner import Planner
from orchestrator.loops.relay import Relay
from orchestrator.loops.rescuer import Rescuer
from orchestrator.loops.sealer import Sealer
from orchestrator.loops.sweeper import Sweeper
from orchestrator.use_cases.ports import Bell, UnitOfWork, Wakeups
from shared.clock import Clock
from shared.errors import SkyharborError
from shared.model.ids import new_id
from shared.pulse import Pulse

_log = structlog.get_logger(__name__)

_RUSH_SECONDS = 0.05
"""A herd of requests and of ends is admitted in some twenty ticks a second, not in one tick for each of them."""


class Loops:
    """Starts and stops everything.

    ``holder`` names this process, new at every start; ``chance`` spreads back-offs (0 to 1). ``pulse`` hears from every
    loop that its step has ended, and a step that takes longer than ``hangs_after`` seconds breaks a promise.
    """

    def __init__(
        self,
        unit_of_work: Callable[[], UnitOfWork],
        *,
        bell: Bell,
        wakeups: Wakeups,
        clock: Clock,
        holder: str | None = None,
        chance: Callable[[], float] = random.SystemRandom().random,
        pulse: Pulse | None = None,
        hangs_after: float = STEP_SECONDS,
    ) -> None:
        def loop(name: str, interval: float, step: Callable[[], bool], *, spacing: float = 0.0) -> Looper:
            return Looper(name, interval=interval, step=step, spacing=spacing, pulse=pulse, hangs_after=hangs_after)

        self._wakeups = wakeups
        self._leader = Leader(unit_of_work, clock=clock, holder=holder or _own_name())
        leading = self._leader.current
        self._relay = loop("relay", 1.0, Relay(unit_of_work, bell=bell).step)
        dispatcher = Dispatcher(unit_of_work, clock=clock, leading=leading, stepped=self._relay.wake)
        self._dispatcher = loop("dispatcher", 1.0, dispatcher.step, spacing=_RUSH_SECONDS)
        planner = Planner(unit_of_work, clock=clock, leading=leading)
        rescuer = Rescuer(unit_of_work, clock=clock, chance=chance, leading=leading)
        expirer = Expirer(unit_of_work, leading=leading)
        sweeper = Sweeper(unit_of_work, clock=clock, leading=leading)
        self._led = [
            self._dispatcher,
            loop("planner", 1.0, planner.step),
            loop("rescuer", 2.0, rescuer.step),
            loop("expirer", LOOK_SECONDS, expirer.step),
            loop("sweeper", 5.0, sweeper.step),
        ]
        self._sealer = loop("sealer", 1.0, Sealer(unit_of_work).step)
        self._leading = loop("leader", TRY_SECONDS, self._lead)
        self._stopping = threading.Event()
        self._ear = threading.Thread(target=self._listen, name="loop-ear", daemon=True)

    def start(self) -> None:
        """Start every loop; returns at once. Call it once."""
        for looper in (self._leading, self._relay, self._sealer, *self._led):
            looper.start()
        self._ear.start()

    def stop(self, timeout: float = 20.0) -> bool:
        """Stop every loop and give up leadership; True when all threads ended within about ``timeout`` seconds.

        Idempotent.
        """
        self._stopping.set()
        self._wakeups.close()
        ended = [looper.stop(timeout) for looper in (*self._led, self._relay, self._sealer, self._leading)]
        try:
            self._leader.resign()
        except SkyharborError as error:
            _log.warning("resign_failed", code=error.code)  # the lease runs out by itself
        if self._ear.is_alive():
            self._ear.join(2.0)
        return all(ended) and not self._ear.is_alive()

    def leading(self) -> bool:
        """Tell whether this process leads right now."""
        return self._leader.current() is not None

    def _lead(self) -> bool:
        if self._leader.step():
            for looper in self._led:
                looper.wake()
        return False

    def _listen(self) -> None:
        while not self._stopping.is_set():
            if self._wakeups.wait(1.0):
                self._dispatcher.wake()
                if not self.leading():  # otherwise the dispatcher wakes it, once it has admitted what there is
                    self._relay.wake()


def _own_name() -> str:
    return f"{socket.gethostname()}:{os.getpid()}:{new_id()}"
