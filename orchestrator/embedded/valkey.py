"""A broker of our own: Valkey on a private unix socket, without a TCP port.

Rule of the file: only what runs the server. What it loses costs latency, never correctness, so one file synced every
second is durable enough; it never evicts, because a full broker must be seen and not guessed at.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Mapping

from orchestrator.embedded import binaries
from orchestrator.embedded.part import Command, base_environment


class PrivateValkey:
    """One server in one folder, a ``Part`` of the stack. ``sockets`` is a private folder for its socket."""

    name = "valkey"
    needed = True
    stop_signal = signal.SIGTERM
    stop_seconds = 5.0

    def __init__(self, folder: str, *, sockets: str, log: str, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._socket = os.path.join(sockets, "valkey.sock")
        self.log = log
        self._environment = base_environment(environment)
        self._program = ""

    def prepare(self) -> None:
        """Make the folder, find the program and remove the socket of a killed server. Raises ``stack-start-failed``."""
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        self._program = self._program or binaries.valkey_server()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._socket)

    def command(self) -> Command:
        """Return how to run the server; after ``prepare``."""
        settings = {
            "port": "0",
            "unixsocket": self._socket,
            "unixsocketperm": "700",
            "dir": self._folder,
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
            "set-proc-title": "no",  # rewriting the title would overwrite the mark in the environment
        }
        argv = [self._program]
        for name, value in settings.items():
            argv += [f"--{name}", value]
        return Command(argv=argv, environment=self._environment, death_signal=signal.SIGTERM, umask=0o077)

    def is_ready(self) -> bool:
        """Whether it answers PING (while it reads its file it does not)."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(1.0)
            try:
                client.connect(self._socket)
                client.sendall(b"PING\r\n")
                return client.recv(16).startswith(b"+PONG")
            except OSError:
                return False

    @property
    def url(self) -> str:
        """The broker URL for Celery and Flower."""
        return f"redis+socket://{self._socket}?virtual_host=0"

    @property
    def version(self) -> str:
        """The server's version such as ``9.1.2``; after ``prepare``."""
        return binaries.valkey_version(self._program)
