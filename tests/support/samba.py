"""A private Samba on loopback: folders, users and a port of its own; ended by its process group.

Rule of the file: nothing outside of the given folder is written, but for a Unix user when there is none to serve as.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

USER, PASSWORD = "harbor", "s3cret-of-harbor"
ORDINARY = "games"
"""A user of every Debian, who is nobody here: what others have shut, it cannot read."""

_CONF = """
[global]
  server role = standalone server
  workgroup = LAB
  smb ports = {port} 445
  interfaces = {host}/8
  bind interfaces only = yes
  private dir = {run}/private
  lock directory = {run}/lock
  state directory = {run}/state
  cache directory = {run}/cache
  pid directory = {run}/pid
  ncalrpc dir = {run}/ncalrpc
  log file = {run}/log.%m
  disable netbios = yes
  disable spoolss = yes
  load printers = no
  map to guest = never
  server min protocol = SMB2
  passdb backend = tdbsam:{run}/private/passdb.tdb
  username map = {run}/users
  deadtime = 0
{more}
[data]
  path = {share}
  read only = no
  vfs objects = acl_xattr streams_xattr
  store dos attributes = yes
  inherit acls = yes
  map archive = no
[depot]
  path = {share}
  read only = no
  vfs objects = acl_xattr streams_depot
  streams_depot:directory = {run}/depot
[shadow]
  path = {share}
  read only = no
  vfs objects = shadow_copy2
  shadow:snapdir = {versions}
  shadow:basedir = {share}
  shadow:format = @GMT-%Y.%m.%d-%H.%M.%S
  shadow:sort = desc
"""


def need_samba() -> None:
    """Skip, and say what is missing."""
    for program, package in (("smbd", "samba"), ("smbpasswd", "samba"), ("smbcacls", "smbclient")):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is missing (Debian: {package})")
    if not list(Path("/usr/lib").glob("*/samba/vfs/acl_xattr.so")):
        pytest.skip("acl_xattr is missing (Debian: samba-vfs-modules)")
    if os.geteuid() != 0:
        pytest.skip("a private Samba has to begin as root")


class Samba:
    """A running server with the shares ``data`` and ``shadow``, both of the folder ``share``."""

    def __init__(self, folder: Path, more: str = "", shares: str = "") -> None:
        self.folder = folder
        self.share, self.versions = folder / "share", folder / "versions"
        for name in ("private", "lock", "state", "cache", "pid", "ncalrpc", "share", "versions", "depot"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / "users").write_text(f"root = {USER}\n")
        # An address of its own, for Samba's own client knows no port but 445.
        self.host = f"127.{secrets.randbelow(200) + 20}.{secrets.randbelow(250) + 1}.{secrets.randbelow(250) + 1}"
        self.port = free_port(self.host)
        self.conf = folder / "smb.conf"
        self.conf.write_text(
            _CONF.format(
                host=self.host, port=self.port, run=folder, share=self.share, versions=self.versions, more=more
            )
            + shares
        )
        for user in ("root", ORDINARY):
            subprocess.run(
                ["smbpasswd", "-c", self.conf, "-s", "-a", user],
                input=f"{PASSWORD}\n" * 2,
                text=True,
                check=True,
                capture_output=True,
                timeout=30,
            )
        self.credentials = self._credentials("credentials", USER)
        self.ordinary = self._credentials("ordinary", ORDINARY)
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def _credentials(self, name: str, user: str) -> Path:
        path = self.folder / name
        path.write_text(f"user={user}\npassword={PASSWORD}\n")
        path.chmod(0o600)
        return path

    def url(self, path: str = "data") -> str:
        return f"smb://{self.host}:{self.port}/{path}"

    def start(self) -> None:
        self._process = subprocess.Popen(
            ["smbd", "-s", self.conf, "-F", "--no-process-group"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=(self.folder / "stderr").open("ab"),
            start_new_session=True,
            preexec_fn=die_with_parent,
        )
        deadline = time.monotonic() + 30
        while True:
            try:
                socket.create_connection((self.host, self.port), 1).close()
                return
            except OSError:
                assert self._process.poll() is None, (self.folder / "stderr").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.02)

    def stop(self, number: int = signal.SIGKILL) -> None:
        """End the server and all of its processes."""
        if self._process is not None:
            os.killpg(self._process.pid, number)
            self._process.wait(30)
            self._process = None
            for helper in self._helpers():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(helper, signal.SIGKILL)

    def _helpers(self) -> list[int]:
        """Those that answer RPC: they are in sessions of their own and outlive the server."""
        found = []
        for pid in filter(str.isdecimal, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                if f"--configfile={self.conf}".encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
                    found.append(int(pid))
        return found

    def status(self) -> str:
        """What smbstatus says of open files."""
        done = subprocess.run(["smbstatus", "-s", self.conf, "-L"], capture_output=True, text=True, timeout=30)
        return done.stdout

    def grant(self, right: str) -> None:
        """Give the user a privilege; for connections from now on."""
        command = ["net", "-s", self.conf, "sam", "rights", "grant", "root", right]
        subprocess.run(command, check=True, capture_output=True, timeout=30)

    def acl(self, path: str, *change: str) -> str:
        """Show or change an ACL with Samba's own client."""
        done = subprocess.run(
            [
                "smbcacls",
                "-s",
                self.conf,
                f"//{self.host}/data",
                path,
                "-U",
                f"{USER}%{PASSWORD}",
                *change,
            ],
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def die_with_parent() -> None:
    """Let the kernel end the server when the tests are killed (prctl(2), PR_SET_PDEATHSIG); its children follow it."""
    ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGTERM, 0, 0, 0)


def free_port(host: str = "127.0.0.1") -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])
