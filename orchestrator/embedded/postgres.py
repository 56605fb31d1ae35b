"""A PostgreSQL of our own: one folder, one unix socket, no TCP port, no account made, no mode of anything else changed.

Rule of the file: only what runs the server; what is inside the database belongs to the store. As root the server runs
in a user namespace: PostgreSQL refuses uid 0, the disk goes on seeing the caller's own files.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from types import TracebackType
from urllib.parse import quote

import psycopg
from psycopg.conninfo import make_conninfo

from orchestrator.embedded import binaries
from orchestrator.embedded.part import Command, Identity, base_environment, rotate, spawn, tail
from orchestrator.embedded.sockets import give_back, socket_folder
from shared.errors import SkyharborError

_USER = "skyharbor"
_DATABASE = "postgres"
_PORT = 5432  # names the socket file only
_START_SECONDS = 60.0
_ORPHAN_SECONDS = 8.0  # what a server whose parent was killed may take for its own fast shutdown


class PrivatePostgres:
    """One server in one folder; a ``Part`` of the stack, and on its own a context manager for tests and tools.

    Layout: ``data/`` the cluster, ``password`` (0600), sockets in ``sockets`` or the folder given. ``settings`` are
    further server settings such as ``{"fsync": "off"}`` for tests. Use one object per folder at a time; the supervisor
    guarantees that by the home's lock.
    """

    name = "postgres"
    needed = True
    stop_signal = signal.SIGINT  # fast shutdown: roll back, checkpoint, end
    stop_seconds = 20.0

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        programs: str | None = None,
        sockets: str | None = None,
        log: str | None = None,
        settings: Mapping[str, str] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._folder = os.path.realpath(folder)
        self._data = os.path.join(self._folder, "data")
        self._password_file = os.path.join(self._folder, "password")
        self._programs = programs
        self._given_sockets = self._sockets = sockets
        self.log = log or os.path.join(self._folder, "postgres.log")
        self._settings = dict(settings or {})
        self._environment = base_environment(environment or {})
        self._process: subprocess.Popen[bytes] | None = None

    # ── as a part of the stack ────────────────────────────────────────────────────────────────────

    def prepare(self) -> None:
        """Make the cluster when there is none, and clear the traces of a killed server.

        Killed inside: the half-made cluster lies under another name and is thrown away next time. Raises
        ``stack-start-failed``.
        """
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        if self._given_sockets is None:
            run = self._own_sockets()
            os.makedirs(run, mode=0o700, exist_ok=True)
            self._sockets = socket_folder(run)
        self._programs = binaries.postgres_bin(data=self._data, preferred=self._programs)
        if binaries.data_major(self._data) is None:
            self._create_cluster(self._programs)
        self._wait_for_orphan()

    def command(self) -> Command:
        """Return how to run the server; after ``prepare``."""
        settings = {
            "listen_addresses": "",
            "port": str(_PORT),
            "unix_socket_directories": _quoted_path(self._socket_folder()),
            "unix_socket_permissions": "0700",
            "max_connections": "100",
            "shared_buffers": "64MB",
            "log_timezone": "UTC",
            "timezone": "UTC",
            **self._settings,
        }
        argv = [os.path.join(self._programs or "", "postgres"), "-D", self._data]
        for name, value in settings.items():
            argv += ["-c", f"{name}={value}"]
        return Command(
            argv=argv,
            environment=self._environment,
            death_signal=self.stop_signal,
            identity=_identity(),
        )

    def is_ready(self) -> bool:
        """Whether it accepts our password and answers."""
        try:
            psycopg.connect(self.dsn, connect_timeout=2).close()
        except (psycopg.OperationalError, OSError):
            return False
        return True

    @property
    def dsn(self) -> str:
        """The libpq connection string, password included; after ``prepare``."""
        return make_conninfo(
            host=self._socket_folder(), port=_PORT, user=_USER, dbname=_DATABASE, password=self._password()
        )

    @property
    def url(self) -> str:
        """The SQLAlchemy URL, password included; after ``prepare``."""
        host = quote(self._socket_folder(), safe="")
        return f"postgresql+psycopg://{_USER}:{quote(self._password(), safe='')}@/{_DATABASE}?host={host}&port={_PORT}"

    @property
    def version(self) -> str:
        """The server's version such as ``18.6``; after ``prepare``."""
        return binaries.postgres_version(self._programs or "")

    # ── on its own ────────────────────────────────────────────────────────────────────────────────

    def start(self) -> None:
        """Prepare, start and wait until it answers; raises ``stack-start-failed`` with the end of its log.

        The server ends when the calling thread ends, even by ``kill -9``.
        """
        self.prepare()
        rotate(self.log)
        self._process = spawn(self.command(), log=self.log)
        deadline = time.monotonic() + _START_SECONDS
        while not self.is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise SkyharborError("stack-start-failed", f"PostgreSQL did not start ({self.log}):\n{tail(self.log)}")
            time.sleep(0.02)

    def stop(self) -> None:
        """End it by a fast shutdown, after 20 s by force. Idempotent."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(self.stop_signal)
            try:
                self._process.wait(self.stop_seconds)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._process.wait()
        self._process = None
        give_back(self._own_sockets())

    @property
    def pid(self) -> int | None:
        """The server's process id when this object started it."""
        return self._process.pid if self._process else None

    def __enter__(self) -> PrivatePostgres:
        """Start it."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it."""
        self.stop()

    # ── inside ────────────────────────────────────────────────────────────────────────────────────

    def _create_cluster(self, programs: str) -> None:
        unfinished = self._data + ".new"
        shutil.rmtree(unfinished, ignore_errors=True)
        if not os.path.exists(self._password_file):
            with open(os.open(self._password_file, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600), "w") as handle:
                handle.write(secrets.token_urlsafe(24))
        argv = [
            os.path.join(programs, "initdb"), "-D", unfinished, "-U", _USER, "--pwfile", self._password_file,
            "-A", "scram-sha-256", "-E", "UTF8", "--no-locale", "--data-checksums", "--no-instructions",
        ]  # fmt: skip
        if self._settings.get("fsync") == "off":
            argv.append("--no-sync")
        command = Command(argv=argv, environment=self._environment, identity=_identity())
        if spawn(command, log=self.log).wait():
            raise SkyharborError("stack-start-failed", f"initdb failed ({self.log}):\n{tail(self.log)}")
        os.rename(unfinished, self._data)

    def _wait_for_orphan(self) -> None:
        """Let a server of a killed supervisor end, then remove its pid file.

        The pid file alone proves nothing (the number may belong to anybody by now, and the server would refuse to start
        because of it); a server is recognised by its working directory, which is the cluster.
        """
        pid_file = os.path.join(self._data, "postmaster.pid")
        deadline = time.monotonic()
        harder = [signal.SIGINT, signal.SIGQUIT, signal.SIGKILL]  # whatever it takes: the log is replayed at the start
        while (pid := _first_number(pid_file)) is not None and _works_in(pid, self._data):
            if time.monotonic() >= deadline:
                if not harder:
                    raise SkyharborError("stack-start-failed", f"an earlier server (process {pid}) does not end")
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, harder.pop(0))
                deadline = time.monotonic() + _ORPHAN_SECONDS
            time.sleep(0.05)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(pid_file)

    def _own_sockets(self) -> str:
        return os.path.join(self._folder, "sockets")

    def _socket_folder(self) -> str:
        if self._sockets is None:
            raise AssertionError("prepare() comes first")
        return self._sockets

    def _password(self) -> str:
        with open(self._password_file, encoding="ascii") as handle:
            return handle.read().strip()


def _identity() -> Identity:
    return Identity.NAMESPACE if os.geteuid() == 0 else Identity.SAME


def _quoted_path(path: str) -> str:
    """Quote one path for a list-valued setting, where commas and spaces separate."""
    return '"' + path.replace('"', '""') + '"'


def _first_number(path: str) -> int | None:
    try:
        with open(path, encoding="ascii") as handle:
            return int(handle.readline())
    except (FileNotFoundError, ValueError):
        return None


def _works_in(pid: int, folder: str) -> bool:
    try:
        return os.readlink(f"/proc/{pid}/cwd") == folder
    except OSError:
        return False
