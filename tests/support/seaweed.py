"""A private SeaweedFS with S3 for tests: a real server with conditional writes, on loopback ports, in its own folder.

Rule of the file: it is started by the test session, stopped by its own process id, and nothing else is ever stopped.
"""

from __future__ import annotations

import ctypes
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass

import httpx

from shared.clock import SystemClock

_START_SECONDS = 40.0
_PORTS = ("master", "volume", "filer", "s3")


@dataclass(frozen=True, slots=True)
class SeaweedAccess:
    """How to reach the server."""

    endpoint: str
    access_key: str
    secret_key: str

    def environment(self) -> dict[str, str]:
        """Return the ``AWS_*`` variables with which a Skyharbor process reaches it."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": "us-east-1",
        }

    def config(self) -> dict[str, str]:
        """Return the same as obstore's configuration."""
        return {
            "endpoint": self.endpoint,
            "access_key_id": self.access_key,
            "secret_access_key": self.secret_key,
            "region": "us-east-1",
        }


def find_weed() -> str | None:
    """Return the server's program, or None when it is not installed."""
    beside = os.path.join(os.path.dirname(sys.executable), "weed")
    return beside if os.access(beside, os.X_OK) else shutil.which("weed")


class Seaweed:
    """One running server. ``start`` returns when S3 answers; ``stop`` when the process is gone."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        ports = _free_ports(2 * len(_PORTS))
        self._ports = dict(zip((f"{name}.{kind}" for name in _PORTS for kind in ("http", "grpc")), ports, strict=True))
        endpoint = f"http://127.0.0.1:{self._ports['s3.http']}"
        self.access = SeaweedAccess(endpoint, "TEST" + secrets.token_hex(8).upper(), secrets.token_hex(20))

    def start(self) -> SeaweedAccess:
        """Start the server and wait until S3 answers; RuntimeError with the log's end when it does not."""
        log_path = os.path.join(self._folder, "weed.log")
        with open(log_path, "ab") as log:
            self._process = subprocess.Popen(
                self._command(),
                stdout=log,
                stderr=log,
                cwd=self._folder,
                preexec_fn=_die_with_parent,
            )
        clock = SystemClock()
        deadline = clock.monotonic() + _START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or clock.monotonic() > deadline:
                self.stop()
                with open(log_path, errors="replace") as log_text:
                    raise RuntimeError("SeaweedFS did not start:\n" + log_text.read()[-2000:])
            clock.sleep(0.05)
        return self.access

    def stop(self) -> None:
        """Kill the server, whose data nobody needs any more (a polite stop takes 15 s); idempotent."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._process = None

    def _answers(self) -> bool:
        try:
            return httpx.get(self.access.endpoint, timeout=2).status_code == 403  # S3 is up and asks for a signature
        except httpx.TransportError:
            return False

    def _command(self) -> list[str]:
        data = os.path.join(self._folder, "data")
        os.makedirs(data, exist_ok=True)
        program = find_weed()
        if program is None:
            raise RuntimeError("the program weed is not installed")
        ports = [
            f"-{name}.port{'' if kind == 'http' else '.grpc'}={self._ports[f'{name}.{kind}']}"
            for name in _PORTS
            for kind in ("http", "grpc")
        ]
        fixed = ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3", "-s3.iam=false", "-master.telemetry=false"]
        # Side services listen on fixed ports: two test sessions at once would collide.
        fixed += ["-s3.port.iceberg=0", "-s3.port.lance=0"]
        small = ["-master.volumeSizeLimitMB=64", "-volume.max=0"]
        return [program, "server", f"-dir={data}", f"-s3.config={self._identities()}", *fixed, *small, *ports]

    def _identities(self) -> str:
        path = os.path.join(self._folder, "identities.json")
        keys = {"accessKey": self.access.access_key, "secretKey": self.access.secret_key}
        identity = {"name": "test", "credentials": [keys], "actions": ["Admin", "Read", "Write", "List", "Tagging"]}
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "w") as file:
            json.dump({"identities": [identity]}, file)
        return path


def _die_with_parent() -> None:
    """Let the kernel kill the server when the tests are killed (prctl(2), PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def _free_ports(count: int) -> list[int]:
    """Return ports that were free a moment ago, all held at once while looking so that they differ."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
