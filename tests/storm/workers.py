"""A second worker process beside the stack's own, which the storm starts, stops, kills and puts into other clocks.

Rule of the file: nobody waits for it; it says hello when it can, as after any death.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.support.stack import without_root_sight

NAME = "second"
_CODE = Path(__file__).parents[2]
_WRONG_CLOCK = Path(__file__).parent / "wrong_clock"


class SecondWorker:
    """One process at a time, always under the same name, so that each next one frees what the last one held."""

    def __init__(self, home: Path, *, broker_url: str, env: dict[str, str]) -> None:
        self._home = home
        self._env = {
            **os.environ,
            **env,
            "SKYHARBOR_BROKER_URL": broker_url,
            "SKYHARBOR_WORKER_TOKEN_FILE": str(home / "secrets" / "worker.token"),
            "SKYHARBOR_WORKER_NAME": NAME,
            "SKYHARBOR_WORKER_STATE": str(home / "run" / NAME),
            "SKYHARBOR_KEYRING": str(home / "keyring"),
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Its process id while it lives."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def start(self, url: str, *, clock_off: int = 0) -> None:
        """Start one for the tower at ``url``, after the last has ended; its clock is off by so many seconds."""
        self.stop(signal.SIGKILL)
        env = {**self._env, "SKYHARBOR_TOWER_URL": url}
        if clock_off:
            env |= {"STORM_CLOCK_OFF": str(clock_off), "PYTHONPATH": f"{_WRONG_CLOCK}:{_CODE}"}
        with open(self._home / "logs" / f"{NAME}.log", "ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "workers"], env=env, stdout=log, stderr=log, preexec_fn=without_root_sight
            )

    def stop(self, number: signal.Signals) -> None:
        """End it by a signal and wait for its end. Idempotent."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.send_signal(number)
            try:
                self._process.wait(40)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
