"""A real MariaDB server of the test's own: private folder, private socket, no network, stopped by its process id."""

from __future__ import annotations

import atexit
import ctypes
import functools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pymysql
import pytest

PROGRAMS = ("mariadbd", "mariadb-install-db", "mariabackup", "mbstream", "mariadb-binlog", "mariadb-dump", "setpriv")
MISSING = [name for name in PROGRAMS if shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin") is None]

needs_mariadb = pytest.mark.skipif(
    bool(MISSING), reason=f"needs mariadb-server and mariadb-backup; missing: {', '.join(MISSING)}"
)

_PATIENCE = 60.0
_REDO = "16M"  # nobody has to wait until more of it is written out


@dataclass
class MariaDb:
    """A server; ``folder`` is a place that its user can enter."""

    folder: Path
    data: Path
    options: tuple[str, ...] = ()
    as_root: bool = False
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def socket(self) -> str:
        return str(self.folder / "s.sock")

    def dsn(self, user: str = "root") -> str:
        return f"mysql://{user}@localhost?socket={self.socket}"

    def start(self, *more: str) -> None:
        """Start it and wait until it answers."""
        libc = ctypes.CDLL(None)
        log = open(self.folder / "server.log", "ab")  # noqa: SIM115 - the child has it
        user = None if self.as_root else _user()
        self.process = subprocess.Popen(
            [
                shutil.which("mariadbd", path=f"{os.environ['PATH']}:/usr/sbin") or "mariadbd",
                "--no-defaults",
                f"--datadir={self.data}",
                f"--socket={self.socket}",
                f"--pid-file={self.folder}/pid",
                "--skip-networking",
                "--innodb-buffer-pool-size=64M",
                f"--innodb-log-file-size={_REDO}",
                *(["--user=root"] if self.as_root else []),
                *self.options,
                *more,
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            preexec_fn=lambda: libc.prctl(1, signal.SIGKILL) and None,
            **({} if user is None else {"user": user[0], "group": user[1], "extra_groups": []}),
        )
        log.close()
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                self.ask("SELECT 1")
                return
            except pymysql.MySQLError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise AssertionError((self.folder / "server.log").read_text()[-3000:]) from None
                time.sleep(0.02)

    def stop(self) -> None:
        """Have it end in order."""
        if self.process is not None:
            self.process.terminate()
            assert self.process.wait(_PATIENCE) == 0
            self.process = None

    def kill(self) -> None:
        """Let it die."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def connect(self, user: str = "root", password: str = "") -> pymysql.connections.Connection:
        return pymysql.connect(unix_socket=self.socket, user=user, password=password, autocommit=True, read_timeout=60)

    def ask(self, *questions: str) -> list[tuple[Any, ...]]:
        """Run statements; return what the last one gives."""
        connection = self.connect()
        try:
            with connection.cursor() as cursor:
                for question in questions:
                    cursor.execute(question)
                return list(cursor.fetchall())
        finally:
            connection.close()

    def now(self) -> int:
        """The server's clock, in seconds."""
        return int(self.ask("SELECT UNIX_TIMESTAMP()")[0][0])

    def pass_a_second(self) -> int:
        """Wait until the server's clock shows another second, which is returned: the log knows seconds only."""
        begun = self.now()
        while (now := self.now()) == begun:
            time.sleep(0.02)
        return now

    def checksums(self) -> dict[str, Any]:
        """What every table of people holds."""
        tables = self.ask(
            "SELECT CONCAT('`', TABLE_SCHEMA, '`.`', TABLE_NAME, '`') FROM information_schema.TABLES "
            "WHERE TABLE_TYPE = 'BASE TABLE' "
            "AND TABLE_SCHEMA NOT IN ('mysql', 'sys', 'information_schema', 'performance_schema')"
        )
        return {str(name): self.ask(f"CHECKSUM TABLE {name} EXTENDED")[0][1] for (name,) in tables}


def _user() -> tuple[int, int] | None:
    if os.geteuid() != 0:
        return None
    entry = pwd.getpwnam("mysql")
    return entry.pw_uid, entry.pw_gid


@contextmanager
def place() -> Iterator[Path]:
    """A folder that the server's user can enter; pytest's own cannot be."""
    folder = Path(tempfile.mkdtemp(prefix="skyharbor-maria-", dir="/var/tmp"))
    try:
        folder.chmod(0o755)
        give(folder)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def give(folder: Path) -> None:
    """Make a folder the server's user's own."""
    user = _user()
    if user is not None:
        os.chown(folder, *user)


@functools.cache
def _installed(as_root: bool) -> Path:
    """A data folder on which no server has run yet: made once for all tests of this process."""
    folder = Path(tempfile.mkdtemp(prefix="skyharbor-maria-new-", dir="/var/tmp"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    folder.chmod(0o755)
    if not as_root:
        give(folder)
    own = _user() is None or as_root
    subprocess.run(
        [
            "mariadb-install-db",
            "--no-defaults",
            f"--datadir={folder}/data",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
            f"--innodb-log-file-size={_REDO}",
            f"--user={pwd.getpwuid(os.geteuid()).pw_name if own else 'mysql'}",
        ],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=120,
    )
    return folder / "data"


@contextmanager
def mariadb(*options: str, binlog: bool = True, as_root: bool = False) -> Iterator[MariaDb]:
    """Install and start a server; stop it in the end, whatever has become of it."""
    with place() as folder:
        data, logs = folder / "data", folder / "log"
        logs.mkdir()
        give(logs)
        subprocess.run(["cp", "-a", str(_installed(as_root)), str(data)], check=True, timeout=120)
        log = (f"--log-bin={logs}/binlog", "--server-id=1", "--binlog-format=MIXED") if binlog else ()
        server = MariaDb(folder, data, (*log, *options), as_root)
        server.start()
        try:
            yield server
        finally:
            server.kill()


@contextmanager
def started_on(data: Path, *options: str, as_root: bool = False) -> Iterator[MariaDb]:
    """Start a server on a data folder that was restored; it has to end in order, too."""
    with place() as folder:
        server = MariaDb(folder, data, options, as_root)
        server.start()
        try:
            yield server
            server.stop()
        finally:
            server.kill()
