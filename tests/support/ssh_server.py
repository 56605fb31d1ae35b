"""A private sshd on loopback, with keys of its own and SFTP only.

Rule of the file: nothing outside of the given folder is written.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.samba import die_with_parent, free_port

_CONF = """
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host
AuthorizedKeysFile {folder}/authorized
PidFile {folder}/pid
UsePAM no
StrictModes no
PasswordAuthentication no
PermitRootLogin prohibit-password
MaxStartups 100
Subsystem sftp internal-sftp
"""


def need_sshd() -> None:
    """Skip, and say what is missing."""
    for program, package in (("/usr/sbin/sshd", "openssh-server"), ("ssh-keygen", "openssh-client")):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is missing (Debian: {package})")


class SshServer:
    """A running sshd that lets this user in by the key ``user``; ``known`` is the file of its key."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tree = folder / "tree"
        self.tree.mkdir(parents=True)
        os.makedirs("/run/sshd", exist_ok=True)
        for name in ("host", "user", "other"):
            self.make_key(name)
        self.port = free_port()
        (folder / "authorized").write_bytes((folder / "user.pub").read_bytes())
        (folder / "authorized").chmod(0o600)
        self.known = folder / "known"
        self.know("host")
        (folder / "sshd.conf").write_text(_CONF.format(port=self.port, folder=folder))
        self.user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True, timeout=10).stdout.strip()
        self.credentials = self.write_credentials(f"user={self.user}\nkey={folder}/user\n")
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def make_key(self, name: str) -> None:
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.folder / name], check=True, timeout=30
        )

    def know(self, name: str) -> None:
        """Make this the key that the server is known by."""
        key = " ".join((self.folder / f"{name}.pub").read_text().split()[:2])
        self.known.write_text(f"[127.0.0.1]:{self.port} {key}\n")

    def write_credentials(self, text: str) -> Path:
        path = self.folder / "credentials"
        path.write_text(text)
        path.chmod(0o600)
        return path

    def url(self, path: str = "") -> str:
        return f"sftp://127.0.0.1:{self.port}{self.tree}{path}"

    def start(self) -> None:
        self._process = subprocess.Popen(
            ["/usr/sbin/sshd", "-D", "-e", "-f", self.folder / "sshd.conf"],
            stdin=subprocess.DEVNULL,
            stderr=(self.folder / "log").open("ab"),
            start_new_session=True,
            preexec_fn=die_with_parent,
        )
        deadline = time.monotonic() + 30
        while True:
            try:
                with socket.create_connection(("127.0.0.1", self.port), 1) as probe:
                    assert probe.recv(4) == b"SSH-"
                return
            except OSError:
                assert self._process.poll() is None, (self.folder / "log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.02)

    def stop(self) -> None:
        """End the server and all of its sessions."""
        if self._process is None:
            return
        for child in _children(self._process.pid):
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        self._process.kill()
        self._process.wait(30)
        self._process = None


def _children(pid: int) -> list[int]:
    """Sessions of sshd leave its process group; deepest first."""
    try:
        listed = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [one for child in map(int, listed) for one in (*_children(child), child)]
