"""``up``: start a stack, in this process or in one of its own.

Rule of the file: policy of starting; the work is done by the home, the lock, the plan and the supervisor. While this
process supervises, it must not ask who holds the lock (see ``lock``).
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable

import msgspec

import shared
from orchestrator.embedded import programs
from orchestrator.embedded.home import Home, make_home
from orchestrator.embedded.lock import hold, holder
from orchestrator.embedded.part import rotate, tail
from orchestrator.embedded.plan import Surroundings, UpRequest, make_plan
from orchestrator.embedded.probe import LOOPBACK
from orchestrator.embedded.record import read_record
from orchestrator.embedded.report import Document, running_document
from orchestrator.embedded.sockets import give_back
from orchestrator.embedded.supervisor import Supervisor, stopped_while_starting
from shared.clock import Clock
from shared.decoders import json_decoder
from shared.errors import SkyharborError
from shared.telemetry.logging import configure_logging

_START_SECONDS = 120.0


class _Told(msgspec.Struct, frozen=True, kw_only=True):
    """What a detached supervisor says, once, to the process that started it."""

    document: Document | None = None
    code: str | None = None
    detail: str = ""
    hint: str = ""


def run_stack(
    request: UpRequest, surroundings: Surroundings, *, clock: Clock, announce: Callable[[Document], None]
) -> None:
    """Start the stack and supervise it in this process until SIGINT or SIGTERM; announces it when it is ready.

    When it runs already, that is announced (``already_running``) and nothing else happens; one that is just ending is
    waited for. Main thread only. Raises ``port-busy`` before anything is started, the home's errors, and
    ``stack-start-failed``.
    """
    home = make_home(request.home, now=clock.now(), version=shared.VERSION)
    while True:
        with hold(home.lock) as held:
            if held:
                _supervise(home, request, surroundings, clock, announce)
                return
        running = _already_running(home)
        if running is not None:
            announce(running)
            return


def start_detached(request: UpRequest, surroundings: Surroundings, *, clock: Clock) -> Document:
    """Start the stack in a session of its own, and return its status document when it is ready.

    Raises what ``run_stack`` raises. Interrupted: the stack that was starting is ended again.
    """
    home = make_home(request.home, now=clock.now(), version=shared.VERSION)
    log = home.log("supervisor")
    rotate(log)
    reader, writer = os.pipe()
    with open(os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab") as output:
        process = subprocess.Popen(
            [
                sys.executable,
                "-P",
                "-m",
                "orchestrator",
                "supervise",
                msgspec.json.encode(request).decode(),
                str(writer),
            ],
            env={**surroundings.environment, "PYTHONPATH": programs.code_folder()},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            pass_fds=(writer,),
            cwd="/",
        )
    os.close(writer)
    try:
        with open(reader, "rb") as pipe:
            said = pipe.readline()
    except KeyboardInterrupt:
        process.send_signal(signal.SIGTERM)
        process.wait()
        raise
    if not said:
        status = process.wait()
        if status == -signal.SIGTERM:  # 'down' came before it listened to signals
            raise stopped_while_starting()
        raise SkyharborError("stack-start-failed", f"the supervisor ended with {status} ({log}):\n{tail(log)}")
    told = json_decoder(_Told).decode(said)
    if told.document is None:
        process.wait()
        raise SkyharborError(told.code or "internal", told.detail, **({"hint": told.hint} if told.hint else {}))
    return told.document


def supervise_detached(request: UpRequest, surroundings: Surroundings, *, clock: Clock, report_to: int) -> None:
    """Be the process that ``start_detached`` starts: supervise, and tell the descriptor ``report_to`` how it went.

    Whoever waits there may be gone by then, with its terminal or its connection: the stack goes on all the same.
    """
    os.set_inheritable(report_to, False)
    with open(report_to, "wb", buffering=0) as pipe:

        def announce(document: Document) -> None:
            with contextlib.suppress(BrokenPipeError):
                pipe.write(msgspec.json.encode(_Told(document=document)) + b"\n")
            pipe.close()  # whoever waits has what it waits for

        try:
            run_stack(request, surroundings, clock=clock, announce=announce)
        except SkyharborError as error:
            if not pipe.closed:
                told = _Told(code=error.code, detail=error.detail, hint=str(error.fields.get("hint", "")))
                with contextlib.suppress(BrokenPipeError):
                    pipe.write(msgspec.json.encode(told) + b"\n")
            raise


def _supervise(
    home: Home,
    request: UpRequest,
    surroundings: Surroundings,
    clock: Clock,
    announce: Callable[[Document], None],
) -> None:
    rotate(home.log("supervisor"))
    configure_logging(log_file=home.log("supervisor"), process="supervisor")
    with _listen(request.port) as listener:
        port: int = listener.getsockname()[1]
        if request.flower:
            _listen(programs.flower_port(port)).close()
        plan = make_plan(home, request, surroundings, listener=listener, started_at=_stamp(clock))
        supervisor = Supervisor(home, plan, clock=clock)
        try:
            supervisor.run(announce=lambda record: announce(running_document(home, record)))
        finally:
            give_back(home.run)


def _listen(port: int) -> socket.socket:
    """Take the port now: nothing is started when it is busy, and nobody can take it while a child restarts."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((LOOPBACK, port))
        listener.listen(256)
    except (OSError, OverflowError) as error:
        listener.close()
        reason = error.strerror if isinstance(error, OSError) else "there is no such port"
        raise SkyharborError("port-busy", f"port {port} of {LOOPBACK}: {reason}") from error
    return listener


def _already_running(home: Home) -> Document | None:
    """Describe the stack that another process supervises; waits while it is starting. None when it has ended."""
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        pid, record = holder(home.lock), read_record(home.record)
        if pid is None:
            return None
        if record is not None and record.pid == pid:
            return {**running_document(home, record), "already_running": True}
        time.sleep(0.05)
    raise SkyharborError(
        "stack-start-failed", f"another 'up' or 'down' of this home does not get done; see {home.logs}"
    )


def _stamp(clock: Clock) -> str:
    return clock.now().isoformat().replace("+00:00", "Z")
