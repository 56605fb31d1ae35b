"""The processes of a tower as people start them one by one: ``skyharbor serve …`` against servers of the test's own.

Rule of the file: it knows the product only through commands, environment variables, signals, exit codes and logs. What
it starts it stops, by process id.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.support.mounts import FORGET_IMAGES
from tests.support.stack import Ran, Stack, wait_for

READ_ONLY = "mount -o remount,bind,ro /"
"""Makes the root file system read-only, in a mount namespace of one's own."""

API, LOOPS, WORKER = "api", "loops", "worker"


@dataclass
class Served(Stack):
    """Any number of ``serve`` processes, named ``<role>-<number>``. ``url`` is the first API's.

    With ``writable`` folders the processes see every other folder read-only, and have no capability, root or not.
    """

    database_url: str = ""
    broker_url: str = ""
    extra: dict[str, str] = field(default_factory=dict)
    writable: list[str] = field(default_factory=list)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)

    def settle(self) -> None:
        """Make the folder with the two tokens and the keyring that the processes and the command line share."""
        for name in ("secrets", "keyring", "logs", "run"):
            (self.home / name).mkdir(parents=True, mode=0o700, exist_ok=True)
        for name in ("token", "worker.token"):
            path = self.home / "secrets" / name
            path.write_text(secrets.token_urlsafe(32) + "\n")
            path.chmod(0o600)
        for name in ("api-1", "api-2"):
            self.ports[name] = free_port()
        self.url = self.address("api-1")
        self.env = {
            "SKYHARBOR_SERVER": self.url,
            "SKYHARBOR_TOKEN_FILE": str(self.home / "secrets" / "token"),
        }

    def address(self, api: str) -> str:
        """The URL of one of the APIs."""
        return f"http://127.0.0.1:{self.ports[api]}"

    def start(self, *names: str) -> None:
        """Start processes and wait until each says that it is ready."""
        for name in names:
            role, _, number = name.partition("-")
            self._ready(name).unlink(missing_ok=True)
            self.processes[name] = self.popen(role, name=name, env=self._environment(name, role, number))
        for name in names:
            wait_for(lambda name=name: self.is_ready(name), f"{name} to be ready:\n{self.log(name)}", seconds=40)  # type: ignore[misc]

    def popen(self, *arguments: str, name: str, env: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """Run ``serve`` with exactly this environment, its stderr in the log called ``name``."""
        logs = self.home / "logs"
        with open(logs / f"{name}.log", "ab") as log, open(logs / f"{name}.out", "ab") as out:
            return subprocess.Popen(
                [*self._confined(), sys.executable, "-m", "orchestrator.bootstrap", "serve", *arguments],
                env={"PATH": os.environ["PATH"], **env},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=log,
            )

    def serve(self, *arguments: str, env: Mapping[str, str], seconds: float = 60) -> Ran:
        """Run ``serve`` to its end and return what it said."""
        done = subprocess.run(
            [sys.executable, "-m", "orchestrator.bootstrap", "serve", *arguments],
            env={"PATH": os.environ["PATH"], **env},
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    def is_ready(self, name: str) -> bool:
        """Whether it says so; an assertion fails when it has ended instead."""
        status = self.processes[name].poll()
        assert status is None, f"{name} ended with {status}:\n{self.log(name)}"
        if not name.startswith(API):
            return self._ready(name).exists()
        try:
            return httpx.get(f"{self.address(name)}/readyz", timeout=5, trust_env=False).status_code == 200
        except httpx.TransportError:
            return False

    def stop(self, name: str) -> int:
        """Ask one to end, and return its exit code."""
        process = self.processes.pop(name)
        process.terminate()
        return process.wait(timeout=45)

    def kill(self, name: str) -> None:
        """End one without a word."""
        process = self.processes.pop(name)
        process.kill()
        process.wait()

    def freeze(self, name: str, *, thaw: bool = False) -> None:
        """Stop one in the middle of whatever it does, or let it go on."""
        self.processes[name].send_signal(signal.SIGCONT if thaw else signal.SIGSTOP)

    def stop_all(self) -> None:
        """End everything that still runs."""
        for process in self.processes.values():
            process.send_signal(signal.SIGCONT)
            process.terminate()
        for process in self.processes.values():
            try:
                process.wait(timeout=45)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.processes.clear()

    def log(self, name: str) -> str:
        """The end of one's log."""
        path = self.home / "logs" / f"{name}.log"
        return path.read_text(errors="replace")[-3000:] if path.exists() else ""

    def events(self, name: str) -> list[dict[str, Any]]:
        """Everything one has logged; an assertion fails for a line that is no JSON."""
        lines = (self.home / "logs" / f"{name}.log").read_text().splitlines()
        return [json.loads(line) for line in lines]

    def leader(self) -> str | None:
        """The loops that lead now by their own word: the ones with the newest term."""
        terms: dict[int, str] = {}
        for name in [one for one in self.processes if one.startswith(LOOPS)]:
            changes = [event["term"] for event in self.events(name) if event["event"] == "leadership_changed"]
            if changes and changes[-1] is not None:
                terms[changes[-1]] = name
        return terms[max(terms)] if terms else None

    def _confined(self) -> list[str]:
        if not self.writable:
            return []
        binds = "".join(f"mount --bind '{folder}' '{folder}' && " for folder in self.writable)
        script = f'{FORGET_IMAGES}; {binds}{READ_ONLY} && exec setpriv --bounding-set=-all --inh-caps=-all -- "$@"'
        return ["unshare", "--mount", "sh", "-c", script, "sh"]

    def _environment(self, name: str, role: str, number: str) -> dict[str, str]:
        own = {"SKYHARBOR_HOME": str(self.home), "SKYHARBOR_READY_FILE": str(self._ready(name)), **self.extra}
        if role == WORKER:
            return {
                **own,
                "SKYHARBOR_BROKER_URL": self.broker_url,
                "SKYHARBOR_TOWER_URL": self.address(f"api-{number}" if f"api-{number}" in self.ports else "api-1"),
                "SKYHARBOR_WORKER_NAME": name,
                "SKYHARBOR_WORKER_STATE": str(self.home / name),
            }
        own["SKYHARBOR_DATABASE_URL"] = self.database_url
        if role == API:
            return {**own, "SKYHARBOR_BIND": f"127.0.0.1:{self.ports[name]}"}
        return {**own, "SKYHARBOR_BROKER_URL": self.broker_url}

    def _ready(self, name: str) -> Path:
        return self.home / "run" / f"{name}.ready"


def free_port() -> int:
    """A loopback port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        port: int = one.getsockname()[1]
    return port


def seconds_until(condition: Any, what: str, *, since: float, seconds: float) -> float:
    """Wait for a condition; return the seconds since a moment of ``time.monotonic``."""
    wait_for(condition, what, seconds=seconds)
    return time.monotonic() - since
