"""Our own processes as parts of the stack: API, loops, auditor, worker and Flower.

Rule of the file: how each is started and how it is known to work; what it does is its own affair. Programs inherit the
caller's environment (storage credentials come that way), but neither libpq's nor Python's variables, and each gets
only the secrets that it needs.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import orchestrator
from orchestrator.embedded.home import Home
from orchestrator.embedded.part import Command
from orchestrator.embedded.probe import LOOPBACK, get

WORKER_NAME = "local"
_PRIVATE_PREFIXES = ("PG", "PYTHON", "SKYHARBOR_STACK_", "FLOWER_", "CELERY_")
_PRIVATE_NAMES = (
    "SKYHARBOR_DATABASE_URL",
    "SKYHARBOR_BROKER_URL",
    "SKYHARBOR_TOKEN",
    "SKYHARBOR_SERVER",
    "SKYHARBOR_CONTEXT",
    "SKYHARBOR_LOG_FILE",
    "SKYHARBOR_READY_FILE",
    "SKYHARBOR_ALARM_URLS",
    "SKYHARBOR_DEADMAN_URL",
    "BROKER_URL",  # Celery's program reads these two whatever its caller meant by them
    "RESULT_BACKEND",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A Python program of ours; a ``Part`` of the stack.

    Its arguments are for everybody to read, so secrets go through its environment. ``ready_file``, when it has one, is
    written by the program itself once it runs.
    """

    name: str
    log: str
    arguments: Sequence[str]
    environment: Mapping[str, str]
    answers: Callable[[], bool]
    needed: bool = True
    stop_seconds: float = 5.0
    inherited_fds: Sequence[int] = ()
    stop_signal: signal.Signals = signal.SIGTERM
    ready_file: str | None = None

    def prepare(self) -> None:
        """Take away the word of a predecessor that it runs; a program of ours clears up all else by itself."""
        if self.ready_file is not None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.ready_file)

    def command(self) -> Command:
        """Return how to run it: this interpreter, this code, nothing from the current folder."""
        return Command(
            argv=[sys.executable, "-P", *self.arguments],
            environment=self.environment,
            inherited_fds=self.inherited_fds,
        )

    def is_ready(self) -> bool:
        """Whether it has said that it runs, if it is one that says so, and answers."""
        return (self.ready_file is None or os.path.exists(self.ready_file)) and self.answers()


@dataclass(frozen=True, slots=True, kw_only=True)
class Wiring:
    """What the programs have to know of one another."""

    home: Home
    database_url: str
    broker_url: str
    port: int
    listener: int  # file descriptor of the API's listening socket: connections wait in it while the API restarts
    concurrency: int
    started_at: str  # RFC 3339, UTC
    environment: Mapping[str, str]  # of whoever started the stack
    flower: bool = False  # so every doorbell and task is told to it


def api(wiring: Wiring) -> Program:
    """The API on the loopback address."""
    return Program(
        name="api",
        log=wiring.home.log("api"),
        arguments=["-m", "orchestrator", "api"],
        environment=_environment(
            wiring,
            SKYHARBOR_DATABASE_URL=wiring.database_url,
            SKYHARBOR_LISTEN_FD=str(wiring.listener),
        ),
        answers=lambda: get(wiring.port, "/readyz") is not None,
        inherited_fds=(wiring.listener,),
    )


def loops(wiring: Wiring) -> Program:
    """The tower's loops; they say that they run once the schema is up to date and every loop was started."""
    ready_file = wiring.home.pulse("loops")
    return Program(
        name="loops",
        log=wiring.home.log("loops"),
        arguments=["-m", "orchestrator", "loops"],
        environment=_environment(
            wiring,
            SKYHARBOR_DATABASE_URL=wiring.database_url,
            SKYHARBOR_BROKER_URL=wiring.broker_url,
            SKYHARBOR_READY_FILE=ready_file,
            **_told(wiring),
        ),
        answers=lambda: True,
        ready_file=ready_file,
        stop_seconds=10.0,
    )


def auditor(wiring: Wiring) -> Program:
    """The auditor: alone in knowing the addresses of alarms, and no part of the loops that it watches."""
    ready_file = wiring.home.pulse("auditor")
    given = ("SKYHARBOR_ALARM_URLS", "SKYHARBOR_DEADMAN_URL")
    return Program(
        name="auditor",
        log=wiring.home.log("auditor"),
        arguments=["-m", "orchestrator", "auditor"],
        environment=_environment(
            wiring,
            SKYHARBOR_DATABASE_URL=wiring.database_url,
            SKYHARBOR_READY_FILE=ready_file,
            **{name: wiring.environment[name] for name in given if name in wiring.environment},
        ),
        answers=lambda: True,
        needed=False,
        ready_file=ready_file,
    )


def worker(wiring: Wiring) -> Program:
    """One worker pool. It never sees the database; when it is stopped it hands its work back."""
    ready_file = wiring.home.pulse("worker")
    return Program(
        name="worker",
        log=wiring.home.log("worker"),
        arguments=["-m", "workers"],
        environment=_environment(
            wiring,
            SKYHARBOR_BROKER_URL=wiring.broker_url,
            SKYHARBOR_TOWER_URL=f"http://{LOOPBACK}:{wiring.port}",
            SKYHARBOR_KEYRING=wiring.home.keyring,
            SKYHARBOR_WORKER_NAME=WORKER_NAME,
            SKYHARBOR_WORKER_STATE=wiring.home.worker,
            SKYHARBOR_HOOKS=wiring.home.hooks,
            SKYHARBOR_WORKER_CONCURRENCY=str(wiring.concurrency),
            **_told(wiring),
            SKYHARBOR_READY_FILE=ready_file,
        ),
        answers=lambda: _worker_said_hello(wiring),
        ready_file=ready_file,
        needed=False,
        stop_seconds=30.0,
    )


def flower(wiring: Wiring) -> Program:
    """Flower, read-only, on the loopback address and the port after the API's."""
    port = flower_port(wiring.port)
    return Program(
        name="flower",
        log=wiring.home.log("flower"),
        arguments=["-m", "celery", "flower", f"--address={LOOPBACK}", f"--port={port}", "--read_only=True"],
        environment=_environment(wiring, CELERY_BROKER_URL=wiring.broker_url),  # it may hold a password
        answers=lambda: get(port, "/healthcheck") is not None,
        needed=False,
    )


def _told(wiring: Wiring) -> dict[str, str]:
    return {"SKYHARBOR_TASK_EVENTS": "1"} if wiring.flower else {}


def flower_port(api_port: int) -> int:
    """Return Flower's port for the API's."""
    return api_port + 1


def code_folder() -> str:
    """Return the folder that our packages are imported from."""
    return os.path.dirname(os.path.dirname(os.path.abspath(orchestrator.__file__)))


def inheritable(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what a program of ours may see of the caller's environment, and where it finds our code."""
    kept = {
        name: value
        for name, value in environment.items()
        if not name.startswith(_PRIVATE_PREFIXES) and name not in _PRIVATE_NAMES
    }
    return {**kept, "PYTHONPATH": code_folder(), "PYTHONUNBUFFERED": "1"}


def _environment(wiring: Wiring, **own: str) -> dict[str, str]:
    home = wiring.home
    return {
        **inheritable(wiring.environment),
        "SKYHARBOR_HOME": home.path,
        "SKYHARBOR_WORKER_TOKEN_FILE": home.worker_token,
        **own,
    }


def _worker_said_hello(wiring: Wiring) -> bool:
    with open(wiring.home.token, encoding="ascii") as handle:
        token = handle.read().strip()
    body = get(wiring.port, "/api/v1/system", token=token)
    if body is None:
        return False
    workers = json.loads(body).get("workers", [])
    return any(found["name"] == WORKER_NAME and found["last_seen_at"] >= wiring.started_at for found in workers)
