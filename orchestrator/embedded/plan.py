"""What one stack consists of, and in which order its parts start.

Rule of the file: it decides from the request and the surroundings which parts there are; nothing is started here.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

import shared
from orchestrator.embedded import programs
from orchestrator.embedded.home import Home
from orchestrator.embedded.part import Part
from orchestrator.embedded.postgres import PrivatePostgres
from orchestrator.embedded.probe import LOOPBACK
from orchestrator.embedded.record import StackRecord
from orchestrator.embedded.report import own_versions
from orchestrator.embedded.sockets import socket_folder
from orchestrator.embedded.valkey import PrivateValkey

_FEWEST_SEATS, _MOST_SEATS = 2, 8


class UpRequest(msgspec.Struct, frozen=True, kw_only=True):
    """How to start. ``port`` 0 takes a free one; ``seats`` (jobs at once) None fits the machine."""

    home: str
    port: int
    seats: int | None = None
    flower: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What is given from outside: the environment to hand on, and servers that somebody else runs."""

    environment: Mapping[str, str]
    database_url: str | None = None
    broker_url: str | None = None
    postgres_programs: str | None = None
    runtime_folder: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to start. A stage is asked for its parts once all needed parts of the one before answer."""

    stages: Sequence[Callable[[], Sequence[Part]]]
    describe: Callable[[], StackRecord]  # the record without its processes and warnings


def make_plan(
    home: Home, request: UpRequest, surroundings: Surroundings, *, listener: socket.socket, started_at: str
) -> Plan:
    """Return the plan: the servers that nobody else runs, then API and loops, then auditor and worker.

    ``listener`` is the API's socket, already listening; it stays the caller's.
    """
    port: int = listener.getsockname()[1]
    sockets = socket_folder(home.run, runtime=surroundings.runtime_folder)
    postgres = PrivatePostgres(
        home.postgres,
        programs=surroundings.postgres_programs,
        sockets=sockets,
        log=home.log("postgres"),
        environment=surroundings.environment,
    )
    valkey = PrivateValkey(home.valkey, sockets=sockets, log=home.log("valkey"), environment=surroundings.environment)
    servers: list[Part] = []
    if surroundings.database_url is None:
        servers.append(postgres)
    if surroundings.broker_url is None:
        servers.append(valkey)

    def wiring() -> programs.Wiring:
        return programs.Wiring(
            home=home,
            database_url=surroundings.database_url or postgres.url,
            broker_url=surroundings.broker_url or valkey.url,
            port=port,
            listener=listener.fileno(),
            concurrency=request.seats or _seats(),
            started_at=started_at,
            environment=surroundings.environment,
            flower=request.flower,
        )

    def tower() -> list[Part]:
        extra: list[Part] = [programs.flower(wiring())] if request.flower else []
        return [*extra, programs.api(wiring()), programs.loops(wiring())]

    def fleet() -> list[Part]:  # after the tower, so that its first hello is answered and the schema is there
        return [programs.auditor(wiring()), programs.worker(wiring())]

    versions: dict[str, str] = {}

    def describe() -> StackRecord:
        if not versions:
            versions.update(own_versions())
            versions.update({server.name: server.version for server in (postgres, valkey) if server in servers})
        return StackRecord(
            pid=os.getpid(),
            url=f"http://{LOOPBACK}:{port}",
            port=port,
            started_at=started_at,
            version=shared.VERSION,
            versions=versions,
            processes=(),
            flower=f"http://{LOOPBACK}:{programs.flower_port(port)}" if request.flower else None,
        )

    return Plan(stages=(lambda: servers, tower, fleet), describe=describe)


def _seats() -> int:
    return max(_FEWEST_SEATS, min(_MOST_SEATS, os.cpu_count() or 1))
