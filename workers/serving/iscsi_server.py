"""The disks of a point as units of an iSCSI target: tgtd reads them, from a mount that nobody else can see.

This process answers the mount, for it has the point's key. tgtd and the program beside it (``tgt_child``) are in a
room of their own, which ends with this process, however that ends. Whoever wants to log in has to know a secret that
was made for this time only. It is in a file without a name, which ends with this process too; never in arguments, in
the environment or on a terminal.

Rule of the file: nothing listens for people before all is set; nothing is left when it stops.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import socket
import string
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from shared.errors import SkyharborError
from workers.serving.addresses import TcpAddress, parse_tcp
from workers.serving.exports import Export, Exports
from workers.serving.folder import Folder
from workers.serving.mounting import Mounting
from workers.serving.tgt_child import MOST_TOLD

USER = "skyharbor"

_SECTOR = 512
_MOST_UNITS = 255
_SECRET = 16  # characters: Windows takes 12 to 16
_LETTERS = string.ascii_letters + string.digits
_PATIENCE = 120.0  # for tgtd to open all disks
_GOODBYE = 10.0
_PATH = os.defpath + ":/usr/sbin:/usr/local/sbin:/sbin"


class IscsiServer:
    """Serves from ``start`` to ``stop``. ``on_end`` is called, by another thread, when it ends by itself."""

    def __init__(
        self,
        folder: Folder,
        exports: Exports,
        address: TcpAddress,
        *,
        point_id: str,
        mount: Mounting,
        on_end: Callable[[], None] = lambda: None,
    ) -> None:
        """Raises ``bad-request`` for what is no disk to iSCSI."""
        self._folder, self._point_id, self._mount, self._on_end = folder, point_id, mount, on_end
        self._disks = list(exports)
        for disk in self._disks:
            if not disk.image.size or disk.image.size % _SECTOR:
                raise SkyharborError("bad-request", f"{disk.name} has {disk.image.size} bytes: no whole sectors of 512")
        if len(self._disks) > _MOST_UNITS:
            raise SkyharborError("bad-request", f"more than {_MOST_UNITS} disks: choose some with --path")
        self.address = address
        # Of this time only, like the secret: nobody shall take two points for two ways to one disk.
        self.target = f"iqn.2026-11.local.skyharbor:{point_id.lower()}.{secrets.token_hex(4)}"
        self.failure: SkyharborError | None = None
        self._secret_file = -1
        self._child: subprocess.Popen[bytes] | None = None
        self._line: socket.socket | None = None
        self._threads: list[threading.Thread] = []
        self._mounted = threading.Event()
        self._stopping = False

    @property
    def secret_file(self) -> str:
        """Where the secret can be read, by this user, until this process ends."""
        return f"/proc/{os.getpid()}/fd/{self._secret_file}"

    def uris(self) -> dict[str, str]:
        """Return the address of every disk by its name, without the account."""
        at = f"iscsi://{self.address.authority}/{self.target}"
        return {disk.name: f"{at}/{number}" for number, disk in enumerate(self._disks, 1)}

    def start(self) -> None:
        """Begin; people can log in when this returns. Raises ``port-busy`` and ``target-invalid``.

        For the main thread: the kernel ends what was started when the thread that has started it ends.
        """
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def check(self) -> None:
        """Raise what it has ended by, if it has ended by itself."""
        if self.failure is not None:
            raise self.failure

    def stop(self) -> None:
        """Cut everybody off and leave nothing. Idempotent."""
        self._stopping = True
        if self._line is not None:
            with suppress(OSError):
                self._line.shutdown(socket.SHUT_RDWR)  # its other end ends tgtd, and itself
        if self._child is not None:
            try:
                self._child.wait(_GOODBYE)
            except subprocess.TimeoutExpired:
                self._child.kill()
                self._child.wait()
        for thread in self._threads:
            thread.join(_GOODBYE)
        if self._line is not None:
            self._line.close()
        if self._secret_file >= 0:
            os.close(self._secret_file)
            self._secret_file = -1

    # ── inside ───────────────────────────────────────────────────────────────────────────────────────

    def _start(self) -> None:
        self._line, self._child = _child(self.address)
        self._line.settimeout(_PATIENCE)
        _, fds = self._next()
        if not fds:
            raise SkyharborError("target-invalid", "tgtd has got no mount")
        self._run(lambda: self._answer(fds[0]), "iscsi-mount")
        said, _ = self._next()
        self.address = parse_tcp(str(said["portal"]))
        if not self._mounted.wait(_PATIENCE):
            raise SkyharborError("target-invalid", "the mount for tgtd does not begin")
        self.check()
        secret = "".join(secrets.choice(_LETTERS) for _ in range(_SECRET))
        self._secret_file = _nameless(secret)
        self._line.send(json.dumps(self._order(secret)).encode())
        self._next()
        self._line.settimeout(None)
        self._run(self._watch, "iscsi-watch")

    def _order(self, secret: str) -> dict[str, object]:
        return {
            "name": self.target,
            "user": USER,
            "secret": secret,
            "units": [_shown_as(self._point_id, disk) for disk in self._disks],
            "paths": [disk.path.hex() for disk in self._disks],
        }

    def _next(self) -> tuple[dict[str, Any], Sequence[int]]:
        """Return what the child says next, and files that come with it. Raises what it has failed by."""
        if self._line is None:
            raise AssertionError("it has begun")
        try:
            packet, fds, _, _ = socket.recv_fds(self._line, MOST_TOLD, 1, socket.MSG_CMSG_CLOEXEC)
        except OSError as error:
            raise SkyharborError("target-invalid", f"tgtd does not begin: {error}") from error
        if not packet:
            raise SkyharborError("target-invalid", "the program that runs tgtd has died")
        said: dict[str, Any] = json.loads(packet)
        if "error" in said:
            raise SkyharborError(said["error"], said["detail"], hint=_HINTS[said["error"]])
        return said, fds

    def _answer(self, fuse: int) -> None:
        """Answer the mount until it is gone."""
        try:
            self._mount(self._folder, f"/dev/fd/{fuse}", name="skyharbor", allow_other=False, ready=self._mounted.set)
            self._fail(SkyharborError("target-invalid", "the mount for tgtd has ended", hint=_HINTS["target-invalid"]))
        except SkyharborError as error:
            self._fail(error)
        finally:
            self._mounted.set()  # who waits for the mount looks whether it has failed

    def _watch(self) -> None:
        """Wait for the end."""
        try:
            self._next()
        except SkyharborError as error:
            self._fail(error)

    def _fail(self, error: SkyharborError) -> None:
        if not self._stopping:
            self.failure = self.failure or error
            self._on_end()

    def _run(self, what: Callable[[], None], name: str) -> None:
        thread = threading.Thread(target=what, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()


_HINTS = {
    "port-busy": "Choose another port, or stop the program that holds it.",
    "target-invalid": "It takes /dev/fuse and a namespace of mounts: root, or a user who may make namespaces; "
    "in a container CAP_SYS_ADMIN. Serving by --nbd takes neither.",
}


def _child(address: TcpAddress) -> tuple[socket.socket, subprocess.Popen[bytes]]:
    program = shutil.which("tgtd", path=_PATH)
    if program is None:
        raise SkyharborError("target-invalid", "tgtd is not installed", hint="Install the package tgt.")
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        command = [sys.executable, "-P", "-m", "workers.serving.tgt_child", str(theirs.fileno()), str(os.getpid())]
        child = subprocess.Popen(
            [*command, program, address.resolved().authority], pass_fds=[theirs.fileno()], cwd="/",
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            env={"LC_ALL": "C.UTF-8"},  # nothing of ours: it may hold secrets, and nothing in it concerns this process
        )  # fmt: skip
    return ours, child


def _shown_as(point_id: str, disk: Export) -> str:
    """Return what a unit says about itself. Without a name of its own every first disk of every tgtd is the same one.

    Programs that look for several ways to one disk would believe that. Holes are not told: tgtd looks for all that are
    behind a place whenever it is asked about one, and nobody is answered meanwhile (22 s for 500 holes, 0.1 s without).
    """
    number = hashlib.sha256(f"{point_id}\0{disk.name}".encode()).hexdigest()[:16]
    named = f"vendor_id=SKYHARBR,product_id=recovery point,product_rev=1,scsi_sn={number},scsi_id=SKYHARBR{number}"
    return f"{named},lbppbe=3"  # else it takes the longest read of the mount for the sectors of the disk


def _nameless(secret: str) -> int:
    """Return a file in memory that has these bytes, for this user only."""
    file = os.memfd_create("skyharbor-iscsi", os.MFD_CLOEXEC)
    os.fchmod(file, 0o600)
    os.write(file, secret.encode())
    return file
