"""A whole embedded stack in a folder of its own, driven from outside as people drive it: by the CLI and the API.

Rule of the file: it knows the product only through commands, files that ``status`` names, and signals.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

_PR_CAPBSET_DROP = 24
_CAP_DAC_OVERRIDE = 1
_CAP_DAC_READ_SEARCH = 2


@dataclass(frozen=True)
class Ran:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one document on stdout."""
        return json.loads(self.out)


def without_root_sight() -> None:
    """In a child of root: mode bits count for this process too, as they do for everybody else."""
    if os.geteuid() == 0:
        prctl = ctypes.CDLL(None, use_errno=True).prctl
        for capability in (_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH):
            if prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0) != 0:
                raise OSError(ctypes.get_errno(), "PR_CAPBSET_DROP")


@dataclass
class Stack:
    """One home folder and the processes that live by it."""

    home: Path
    env: dict[str, str] = field(default_factory=dict)
    url: str = ""

    def run(self, *args: str, timeout: float = 120, stdin: str | None = None) -> Ran:
        """Run the CLI against this home and return what it said."""
        command = [sys.executable, "-m", "orchestrator.bootstrap", "--home", str(self.home), *args]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=timeout,
            input=stdin,
            check=False,
            env={**os.environ, **self.env},
            preexec_fn=without_root_sight,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    def ask(self, *args: str, code: int = 0, timeout: float = 120) -> Any:
        """Run with ``--json``, insist on the exit code and return the document."""
        ran = self.run("--json", *args, timeout=timeout)
        assert ran.code == code, f"{args}: exit {ran.code}\n{ran.out}\n{ran.err}"
        return ran.json

    def up(self) -> None:
        """Start everything, detached, on a free port."""
        ran = self.run("up", "--detach", "--port", "0", timeout=60)
        assert ran.code == 0, ran.err + ran.out
        self.url = str(self.status()["url"])

    def down(self) -> None:
        """Stop everything, however much of it is left."""
        self.run("down", timeout=90)

    def status(self) -> Any:
        """The ``status`` document."""
        return self.run("--json", "status").json

    def pid(self, name: str) -> int:
        """The process id of one part of the stack."""
        return next(int(p["pid"]) for p in self.status()["processes"] if p["name"] == name)

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to one part of the stack."""
        os.kill(self.pid(name), number)

    def kill_everything(self) -> None:
        """The power cut: every process of the stack at once, the supervisor first."""
        status = self.status()
        pids = [int(status["pid"]), *(int(p["pid"]) for p in status["processes"] if p["pid"])]
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        wait_for(lambda: not any(_alive(pid) for pid in pids), "the killed processes to be gone", seconds=15)

    def second_worker(self, name: str, *, broker_url: str, before: Sequence[str] = ()) -> subprocess.Popen[bytes]:
        """Start one more worker process beside the stack's own; the caller ends it. Returns once the tower knows it.

        ``before`` is what is put before its command.
        """
        own = {
            "SKYHARBOR_TOWER_URL": self.url,
            "SKYHARBOR_BROKER_URL": broker_url,
            "SKYHARBOR_WORKER_TOKEN_FILE": str(self.home / "secrets" / "worker.token"),
            "SKYHARBOR_WORKER_NAME": name,
            "SKYHARBOR_WORKER_STATE": str(self.home / "run" / name),
            "SKYHARBOR_KEYRING": str(self.home / "keyring"),
        }
        with open(self.home / "logs" / f"{name}.log", "ab") as log:
            process = subprocess.Popen(
                [*before, sys.executable, "-m", "workers"],
                env={**os.environ, **self.env, **own},
                stdout=log,
                stderr=log,
                preexec_fn=without_root_sight,
            )
        wait_for(lambda: self._knows_worker(name), f"worker {name} to say hello", seconds=20)
        return process

    def _knows_worker(self, name: str) -> bool:
        with self.http() as http:
            return any(one["name"] == name for one in http.get("/api/v1/system").json()["workers"])

    def token(self, name: str) -> str:
        """A credential file's content: ``token`` (operator) or ``worker.token``."""
        return (self.home / "secrets" / name).read_text().strip()

    def http(self, *, token: str = "token") -> httpx.Client:
        """An API client with one of the home's credentials."""
        headers = {"Authorization": f"Bearer {self.token(token)}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=20, trust_env=False)

    def job(self, job_id: str) -> Any:
        """The job as the API shows it."""
        return self.ask("job", "show", job_id)

    def wait_job(self, job_id: str, *states: str, seconds: float = 60) -> Any:
        """Wait until the job is in one of the states and return it."""
        found: dict[str, Any] = {}

        def reached() -> bool:
            found.update(self.api_job(job_id))
            return found["state"] in states

        wait_for(reached, f"job {job_id} to be {'/'.join(states)}; it is {found}", seconds=seconds)
        return found

    def api_job(self, job_id: str) -> Any:
        """The job by one HTTP call, for close watching."""
        with self.http() as http:
            reply = http.get(f"/api/v1/jobs/{job_id}")
        assert reply.status_code == 200, reply.text
        return reply.json()


TERMINAL = ("completed", "cancelled", "discarded", "expired")


def wait_for(condition: Callable[[], bool], what: str, *, seconds: float) -> None:
    """Poll ``condition`` until it holds; fail with ``what`` when it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds:.0f} s in vain for {what}")
        time.sleep(0.05)


def _alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
