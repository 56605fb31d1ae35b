"""The composition root of the control plane: the only file that knows every adapter.

Rule of the file: wiring and process life, no rules. Everything is imported where it is used: the command line must not
pay for the database, nor a process for a part that it does not run; and a foreign package must be told before it breaks
an import.
"""

from __future__ import annotations

import importlib.util
import os
import random
import signal
import socket
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from orchestrator.cli.ports import Endpoint, UpOptions
    from orchestrator.embedded.plan import Surroundings
    from orchestrator.settings import Settings

_ENDED_EARLY = 128 + signal.SIGTERM
_LOOPS_STOP_SECONDS = 8.0  # the supervisor gives ten
_AUDITOR_STOP_SECONDS = 3.0  # the supervisor gives five; a channel that hangs is left hanging

ROLES = ("api", "loops", "auditor", "migrate", "supervise")
"""The processes of the tower that are not the command line."""

_PACKAGES = {"orchestrator": "orchestrator.settings", "workers": "workers.settings", "shared": "shared.contracts.work"}


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and end the process with its exit code: the program ``skyharbor``."""
    refuse_foreign_packages()
    from orchestrator.cli.main import run

    run(argv, stack=LocalStack())


def run_role(role: str, arguments: Sequence[str]) -> int:
    """Run a process of the tower (one of ``ROLES``) and return its exit status.

    A refusal ends it in the form of the command line, with its code: people read that, and a supervisor looks for it.
    SIGTERM ends a role at once, and in good order, until the role takes the signal over: as the first process of a
    container it would not be ended by it otherwise. A migration that is ended has not succeeded, and says so.
    """
    refuse_foreign_packages()
    import structlog

    from orchestrator.settings import Settings
    from shared.errors import SkyharborError
    from shared.telemetry.logging import configure_logging

    configure_logging(process=role)
    if role != "supervise":  # whoever starts that one tells the two ends apart
        ended = _ENDED_EARLY if role == "migrate" else 0
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(ended))
    settings: Settings | None = None
    try:
        settings = Settings.from_environment()
        configure_logging(log_file=settings.log_file, process=role, level=settings.log_level)
        match role:
            case "api":
                run_api(settings, migrate="--migrate" in arguments)
            case "loops":
                run_loops(settings)
            case "migrate":
                run_migrate(settings)
            case "auditor":
                run_auditor(settings)
            case _:
                run_supervisor(settings, *arguments)
    except SkyharborError as error:
        if settings is not None and settings.log_file is not None:
            structlog.get_logger().error("refused", code=error.code, detail=error.detail, hint=error.hint)
        sys.stderr.write(f"error: {error} ({error.code})\n" + (f"hint: {error.hint}\n" if error.hint else ""))
        return error.kind.exit_code
    return 0


def run_api(settings: Settings, *, migrate: bool = False) -> None:
    """Serve the API until SIGTERM. It answers at once; ``/readyz`` says when the database and its schema are there.

    With ``migrate`` the schema is brought up to date first, and it answers only then.
    """
    import uvicorn

    import shared
    from orchestrator.api.app import create_app
    from orchestrator.store import schema
    from orchestrator.store.connections import open_engine
    from orchestrator.store.unit_of_work import SqlUnitOfWork
    from orchestrator.use_cases.application import Application
    from orchestrator.vault_port import VaultsOnStorage
    from shared.clock import SystemClock

    if migrate:
        run_migrate(settings)
    clock = SystemClock()
    engine = open_engine(settings.need_database())
    application = Application(
        unit_of_work=lambda: SqlUnitOfWork(engine),
        clock=clock,
        vaults=VaultsOnStorage(),
        schema_head=schema.head(),
        version=shared.VERSION,
        started_at=clock.now(),
    )
    token, worker_token = settings.tokens()
    app = create_app(application, token=token, worker_token=worker_token)
    config = uvicorn.Config(
        app, log_config=None, access_log=False, server_header=False, timeout_graceful_shutdown=3, lifespan="off"
    )
    with _listener(settings) as listener:
        uvicorn.Server(config).run(sockets=[listener])
    engine.dispose()


def run_migrate(settings: Settings) -> None:
    """Bring the database's schema up to date and return; whoever comes second waits, and finds nothing to do."""
    import structlog

    from orchestrator.store import schema

    structlog.get_logger().info("schema-ready", schema=schema.upgrade(settings.need_database()))


def run_loops(settings: Settings) -> None:
    """Bring the schema up to date, then run the tower's loops until SIGTERM or SIGINT.

    ``home-newer`` when the database was written by a newer program; nothing is changed then.
    """
    import structlog

    from orchestrator.dispatch.celery_bell import CeleryBell
    from orchestrator.loops.runner import Loops
    from orchestrator.store import schema
    from orchestrator.store.connections import open_engine
    from orchestrator.store.notify import Listener
    from orchestrator.store.unit_of_work import SqlUnitOfWork
    from shared.broker_check import refuse_evicting_broker
    from shared.clock import SystemClock
    from shared.model.ids import new_id
    from shared.pulse import Pulse

    url, broker = settings.need_database(), settings.need_broker()
    refuse_evicting_broker(broker)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    pulse = Pulse(settings.ready_file)
    schema.upgrade(url)
    engine = open_engine(url)
    bell = CeleryBell(broker, events=settings.task_events)
    running = Loops(
        lambda: SqlUnitOfWork(engine),
        bell=bell,
        wakeups=Listener(url),
        clock=SystemClock(),
        holder=new_id(),
        chance=random.SystemRandom().random,
        pulse=pulse,
        hangs_after=settings.hang_seconds,
    )
    running.start()
    pulse.open()
    ended.wait()
    structlog.get_logger().info("loops-stopping")
    pulse.close()
    running.stop(timeout=_LOOPS_STOP_SECONDS)
    bell.close()
    engine.dispose()


def run_auditor(settings: Settings) -> None:
    """Look after the promises until SIGTERM or SIGINT, beside the loops and without them.

    ``bad-request`` when an address of an alarm is none.
    """
    from datetime import timedelta

    from orchestrator.alarms.apprise_channels import open_channels
    from orchestrator.alarms.dead_man import HttpDeadMan
    from orchestrator.domain.oversight import Patience
    from orchestrator.loops.auditor import Auditor
    from orchestrator.loops.looper import Looper
    from orchestrator.store import schema
    from orchestrator.store.connections import open_engine
    from orchestrator.store.unit_of_work import SqlUnitOfWork
    from shared.pulse import Pulse

    pulse = Pulse(settings.ready_file)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    engine = open_engine(settings.need_database(), connections=2)
    absence = timedelta(seconds=settings.alarm_after_seconds)
    auditor = Auditor(
        lambda: SqlUnitOfWork(engine),
        schema_head=schema.head(),
        patience=Patience(absence=absence),
        interval=timedelta(seconds=settings.audit_seconds),
        again=timedelta(seconds=settings.alarm_again_seconds),
        channels=open_channels(settings.alarm_urls),
        dead_man=HttpDeadMan(settings.dead_man_url) if settings.dead_man_url else None,
    )
    # Twice, for a round also tells people, over channels that may be slow.
    looper = Looper(
        "auditor",
        interval=settings.audit_seconds,
        step=auditor.step,
        pulse=pulse,
        hangs_after=2 * settings.hang_seconds,
    )
    looper.start()
    pulse.open()
    ended.wait()
    pulse.close()
    looper.stop(timeout=_AUDITOR_STOP_SECONDS)
    engine.dispose()


def run_supervisor(settings: Settings, request: str, report_to: str) -> None:
    """Be the detached supervisor that ``up --detach`` starts. ``request`` is an ``UpRequest`` as JSON."""
    from orchestrator.embedded.plan import UpRequest
    from orchestrator.embedded.start import supervise_detached
    from shared.clock import SystemClock
    from shared.decoders import json_decoder

    supervise_detached(
        json_decoder(UpRequest).decode(request),
        _surroundings(settings),
        clock=SystemClock(),
        report_to=int(report_to),
    )


class LocalStack:
    """The embedded stack as the command line sees it (``orchestrator.cli.ports.Stack``)."""

    def up(self, home: str, options: UpOptions, *, announce: Callable[[Mapping[str, object]], None]) -> None:
        """Start it, detached or in this process; see ``orchestrator.embedded.start``."""
        from orchestrator.embedded.plan import UpRequest
        from orchestrator.embedded.start import run_stack, start_detached
        from orchestrator.settings import Settings
        from shared.clock import SystemClock

        request = UpRequest(home=home, port=options.port, seats=options.workers, flower=options.flower)
        surroundings = _surroundings(Settings.from_environment())
        if options.detach:
            announce(start_detached(request, surroundings, clock=SystemClock()))
        else:
            run_stack(request, surroundings, clock=SystemClock(), announce=announce)

    def down(self, home: str) -> bool:
        """Stop it; False when nothing ran."""
        from orchestrator.embedded.stack import stop_stack

        return stop_stack(home)

    def status(self, home: str) -> Mapping[str, object]:
        """Say what runs."""
        from orchestrator.embedded.stack import stack_status

        return stack_status(home)

    def endpoint(self, home: str) -> Endpoint | None:
        """Say where it answers, and to which token."""
        from orchestrator.cli.ports import Endpoint
        from orchestrator.embedded.stack import stack_endpoint

        found = stack_endpoint(home)
        return Endpoint(*found) if found else None

    def keyring_folder(self, home: str) -> str:
        """Say where the worker looks for keys."""
        from orchestrator.embedded.home import Home

        return Home(os.path.realpath(home)).keyring

    def cache_folder(self, home: str) -> str:
        """Say where the worker keeps what it can fetch again."""
        from orchestrator.embedded.home import Home

        return Home(os.path.realpath(home)).cache


def refuse_foreign_packages() -> None:
    """End the process when one of our packages would be imported from somewhere else than the others.

    ``shared`` and ``workers`` are names that another distribution may use too. Nothing of ours can be trusted to be
    importable then, the error registry included: so it is told by plain text.
    """
    folders: dict[str, str] = {}
    for package, probe in _PACKAGES.items():
        spec = importlib.util.find_spec(package)
        origin = spec.origin if spec and spec.origin else "nowhere"
        folders[package] = os.path.dirname(os.path.dirname(os.path.abspath(origin)))
        if spec is None or folders[package] != folders["orchestrator"] or importlib.util.find_spec(probe) is None:
            sys.stderr.write(
                "error: Another distribution has put its own package in our way: "
                f"'{package}' is found at {origin}, Skyharbor is at {folders['orchestrator']} (foreign-package)\n"
                "hint: Install Skyharbor into an environment of its own (make setup does).\n"
            )
            sys.exit(1)


def _surroundings(settings: Settings) -> Surroundings:
    from orchestrator.embedded.plan import Surroundings

    return Surroundings(
        environment=settings.environment,
        database_url=settings.database_url,
        broker_url=settings.broker_url,
        postgres_programs=settings.postgres_programs,
        runtime_folder=settings.runtime_folder,
    )


def _listener(settings: Settings) -> socket.socket:
    """Return the listening socket: the inherited one, else a new one."""
    from shared.errors import SkyharborError

    if settings.listen_fd is not None:
        return socket.socket(fileno=settings.listen_fd)
    try:
        return socket.create_server(settings.bind, backlog=256)
    except OSError as error:
        raise SkyharborError("port-busy", f"{settings.bind[0]}:{settings.bind[1]}: {error.strerror}") from error


if __name__ == "__main__":
    main()
