"""A loop: a name, a rhythm and a step, in a thread that outlives whatever the step meets.

Rule of the file: a failing step is logged and tried again, later each time up to a limit; only ``stop`` ends a loop.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import structlog

from shared.errors import SkyharborError
from shared.pulse import Pulse

_log = structlog.get_logger(__name__)

LONGEST_BACKOFF = 30.0

STEP_SECONDS = 60.0
"""What takes longer than this hangs: a statement may take 15 s, and a step is a few of them."""


class Looper:
    """Runs ``step`` every ``interval`` seconds, and at once when woken.

    A step returns True to be called again immediately. ``spacing``: a waking that comes within so many seconds after a
    step began waits until they are over, so that what comes in a rush is done together. ``pulse`` hears after each step
    by when the next one will have ended: within ``hangs_after`` seconds of its beginning.
    """

    def __init__(
        self,
        name: str,
        *,
        interval: float,
        step: Callable[[], bool],
        spacing: float = 0.0,
        pulse: Pulse | None = None,
        hangs_after: float = STEP_SECONDS,
    ) -> None:
        self.name = name
        self._pulse = pulse
        self._hangs_after = hangs_after
        self._interval = interval
        self._spacing = spacing
        self._step = step
        self._woken = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._failures = 0

    def start(self) -> None:
        """Begin, with a step at once."""
        self._promise(0.0)
        self._thread = threading.Thread(target=self._run, name=f"loop-{self.name}", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Have the next step happen now. Wakings during a step are one waking after it."""
        self._woken.set()

    def stop(self, timeout: float = 20.0) -> bool:
        """End after the present step; True when the thread is gone within ``timeout`` seconds. Idempotent."""
        self._stopping.set()
        self._woken.set()
        if self._thread is None:
            return True
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._woken.clear()
            began = time.monotonic()
            pause = self._attempt()
            self._promise(pause)
            if self._failures:
                # A waking does not shorten a back-off: the waker may be as broken as the step.
                self._stopping.wait(pause)
            elif pause:
                self._stopping.wait(max(0.0, began + self._spacing - time.monotonic()))
                self._woken.wait(pause)

    def _promise(self, pause: float) -> None:
        if self._pulse is not None:
            self._pulse.promise(self.name, within=pause + self._spacing + self._hangs_after)

    def _attempt(self) -> float:
        try:
            again = self._step()
        except SkyharborError as error:
            self._failures += 1
            _log.warning("loop_step_failed", loop=self.name, code=error.code, detail=error.detail, count=self._failures)
        except Exception:  # noqa: BLE001 - a loop never dies; the defect is in the log with its traceback
            self._failures += 1
            _log.exception("loop_step_broke", loop=self.name, count=self._failures)
        else:
            self._failures = 0
            return 0.0 if again else self._interval
        return float(min(LONGEST_BACKOFF, max(self._interval, 0.5) * 2 ** min(self._failures - 1, 6)))
