"""Real brokers for tests, on loopback ports and in folders of their own: Valkey with a password, and RabbitMQ.

Rule of the file: started by the test as whoever runs it, stopped by process id, and no other server is ever touched.
"""

from __future__ import annotations

import ctypes
import os
import secrets
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Protocol

import amqp
import pytest
import redis

from orchestrator.embedded import binaries
from shared.contracts.doorbell import QUEUE
from tests.support.served import free_port

_RABBIT = "/usr/lib/rabbitmq/bin/rabbitmq-server"  # the wrapper in the path insists on an account of its own
_SECONDS = 120.0


class Broker(Protocol):
    """What both can do."""

    url: str

    def start(self) -> None:
        """Start it and wait until it answers; with what it had when it was killed."""
        ...

    def kill(self) -> None:
        """End it without a word. Idempotent."""
        ...

    def purge(self) -> None:
        """Forget every message."""
        ...

    def waiting(self) -> int:
        """How many doorbells nobody has fetched."""
        ...


class Valkey:
    """A Valkey that asks for a password and keeps a file, as a deployment's does."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = free_port()
        self.password = secrets.token_hex(12)
        self.url = f"redis://:{self.password}@127.0.0.1:{self._port}/0"
        self.client = redis.Redis(port=self._port, password=self.password)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        self._folder.mkdir(exist_ok=True)
        settings = {
            "bind": "127.0.0.1",
            "port": str(self._port),
            "dir": str(self._folder),
            "appendonly": "yes",
            "save": "",
            "requirepass": self.password,
        }
        arguments = [word for name, value in settings.items() for word in (f"--{name}", value)]
        self._process = _spawn([binaries.valkey_server(), *arguments], self._folder / "log", {})
        _until(self._answers, "Valkey", self._folder / "log")

    def kill(self) -> None:
        """End it without a word."""
        _end(self._process)

    def purge(self) -> None:
        """Forget everything, bindings included."""
        self.client.flushall()

    def waiting(self) -> int:
        """How many doorbells lie in the list."""
        return int(self.client.llen(QUEUE))  # type: ignore[arg-type]

    def _answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except redis.RedisError:
            return False


class Rabbit:
    """A RabbitMQ of one node, with its own port mapper, cookie and data."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port, self._distribution, self._mapper = free_port(), free_port(), free_port()
        self.password = secrets.token_hex(12)
        self.url = f"amqp://harbor:{self.password}@127.0.0.1:{self._port}//"
        self._epmd: subprocess.Popen[bytes] | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the port mapper when there is none, and the node; wait until it takes our password."""
        self._folder.mkdir(exist_ok=True)
        config = self._folder / "rabbitmq.conf"
        config.write_text(f"default_user = harbor\ndefault_pass = {self.password}\ndisk_free_limit.absolute = 1MB\n")
        (self._folder / "plugins").write_text("[].\n")
        environment = self._environment(str(config))
        if self._epmd is None:
            command = ["epmd", "-address", "127.0.0.1", "-port", str(self._mapper)]
            self._epmd = _spawn(command, self._folder / "epmd.log", environment)
        self._process = _spawn([_RABBIT], self._folder / "log", environment)
        _until(self._answers, "RabbitMQ", self._folder / "log")

    def kill(self) -> None:
        """End the node without a word."""
        _end(self._process)

    def close(self) -> None:
        """End everything."""
        self.kill()
        _end(self._epmd)

    def purge(self) -> None:
        """Empty the queue."""
        with self._connection() as connection:
            connection.channel().queue_purge(QUEUE)

    def waiting(self) -> int:
        """How many doorbells are ready in the queue; none when there is no queue yet."""
        try:
            with self._connection() as connection:
                return int(connection.channel().queue_declare(QUEUE, passive=True).message_count)
        except amqp.NotFound:
            return 0

    def is_quorum(self) -> bool:
        """Whether the queue is there, and is no classic one: declaring it as such is refused then."""
        if not self._has_queue():
            return False
        try:
            with self._connection() as connection:
                connection.channel().queue_declare(
                    QUEUE, durable=True, auto_delete=False, arguments={"x-queue-type": "classic"}
                )
        except amqp.PreconditionFailed as refusal:
            return "quorum" in str(refusal)
        return False

    def _has_queue(self) -> bool:
        try:
            with self._connection() as connection:
                connection.channel().queue_declare(QUEUE, passive=True)
        except amqp.NotFound:
            return False
        return True

    def _connection(self) -> amqp.Connection:
        connection = amqp.Connection(
            f"127.0.0.1:{self._port}", userid="harbor", password=self.password, connect_timeout=5, read_timeout=20
        )
        connection.connect()
        return connection

    def _answers(self) -> bool:
        try:
            self._connection().close()
        except (OSError, amqp.AMQPError):
            return False
        return True

    def _environment(self, config: str) -> dict[str, str]:
        folder = str(self._folder)
        return {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "LC_ALL": "C.UTF-8",
            "HOME": folder,  # the cookie
            "ERL_EPMD_PORT": str(self._mapper),
            "RABBITMQ_CONF_ENV_FILE": f"{folder}/no-such-file",
            "RABBITMQ_CONFIG_FILE": config.removesuffix(".conf"),
            "RABBITMQ_NODENAME": "harbor@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self._port),
            "RABBITMQ_DIST_PORT": str(self._distribution),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1} +S 2:2",
            "RABBITMQ_MNESIA_BASE": f"{folder}/data",
            "RABBITMQ_LOG_BASE": f"{folder}/logs",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{folder}/plugins",
            "RABBITMQ_PID_FILE": f"{folder}/pid",
        }


def rabbit_or_skip(folder: Path) -> Rabbit:
    """A RabbitMQ, not started; the test is skipped, by name, where it is not installed."""
    if not os.access(_RABBIT, os.X_OK) or shutil.which("epmd") is None:
        pytest.skip("RabbitMQ is not installed (Debian: apt-get install rabbitmq-server)")
    return Rabbit(folder)


def _spawn(command: list[str], log: Path, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    with open(log, "ab") as output:
        return subprocess.Popen(
            command,
            env={"PATH": os.environ["PATH"], **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=log.parent,
            start_new_session=True,
            preexec_fn=_die_with_parent,
        )


def _end(process: subprocess.Popen[bytes] | None) -> None:
    """Kill the whole group that we started: RabbitMQ is a shell, an emulator and its helpers."""
    if process is None:
        return
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()


def _until(condition: object, what: str, log: Path) -> None:
    deadline = time.monotonic() + _SECONDS
    while not condition():  # type: ignore[operator]
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what} did not start:\n{log.read_text(errors='replace')[-2000:]}")
        time.sleep(0.05)


def _die_with_parent() -> None:
    """Let the kernel end the server when the tests are killed (prctl(2), PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
