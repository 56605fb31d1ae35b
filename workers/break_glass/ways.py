"""The ways in which disks are served: by NBD, from this process, and by iSCSI, through tgtd.

Rule of the file: what is wrong with the options is said before anything is opened; what people are told can be copied.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from shlex import quote
from typing import NamedTuple, Protocol

from shared.errors import SkyharborError
from shared.vault.reader import PointReader
from workers.serving.addresses import Address, TcpAddress, UnixAddress, check_exposure, parse_address, parse_tcp
from workers.serving.complaints import Complaints
from workers.serving.exports import Exports
from workers.serving.folder import Folder
from workers.serving.iscsi_server import USER, IscsiServer
from workers.serving.mounting import Mounting, mounting
from workers.serving.nbd_server import NbdServer, tls_context


class Disks(NamedTuple):
    """What is served."""

    reader: PointReader
    exports: Exports
    complaints: Complaints


class Way(Protocol):
    """Serves disks from ``start`` to ``stop``."""

    def start(self, disks: Disks, on_end: Callable[[], None]) -> dict[str, str]:
        """Begin, and return the addresses of the disks by their names; ``on_end`` is called if it ends by itself."""
        ...

    def told(self) -> dict[str, str]:
        """Return what else a program has to know to connect."""
        ...

    def lines(self, disk: str, uri: str) -> Iterator[str]:
        """Yield lines for people who want to use a disk."""
        ...

    def check(self) -> None:
        """Raise what it has ended by, if it has ended by itself."""
        ...

    def stop(self) -> None:
        """Cut everybody off."""
        ...


def way_of(
    *, nbd: str | None, iscsi: str | None, cert: str | None, key: str | None, ca: str | None, insecure: bool
) -> Way:
    """Return the way that the options ask for. Raises ``bad-request``."""
    if (nbd is None) == (iscsi is None):
        raise SkyharborError("bad-request", "serving takes one of --nbd ADDR and --iscsi HOST:PORT")
    if nbd is not None:
        tls, address = tls_context(cert=cert, key=key, ca=ca), parse_address(nbd)
        check_exposure(address, client_certificates=ca is not None, insecure=insecure)
        return _ByNbd(address, tls)
    if (cert, key, ca) != (None, None, None):
        raise SkyharborError("bad-request", "iSCSI knows no certificates: --tls-… is for --nbd")
    at = parse_tcp(iscsi or "")
    if not at.is_loopback and not insecure:
        raise SkyharborError(
            "bad-request",
            f"{at.host} can be reached from other machines, and iSCSI encrypts nothing",
            hint="Who listens on the way reads what is read of the disk: on a network of its own, give --insecure.",
        )
    return _ByIscsi(at, mounting())


class _ByNbd:
    """By NBD. With TLS every program wants its certificates in a way of its own."""

    def __init__(self, address: Address, tls: ssl.SSLContext | None) -> None:
        self._address, self._tls = address, tls
        self._server: NbdServer | None = None

    def start(self, disks: Disks, on_end: Callable[[], None]) -> dict[str, str]:  # noqa: ARG002 - it never does
        self._server = NbdServer(disks.exports, self._address, tls=self._tls)
        self._server.start()
        self._address = self._server.address
        return self._server.uris()

    def told(self) -> dict[str, str]:
        return {}

    def lines(self, disk: str, uri: str) -> Iterator[str]:
        if self._tls is not None:
            yield f"  look:        nbdinfo '{uri}{'&' if '?' in uri else '?'}tls-certificates=FOLDER'"
            return
        copy, at = _copy_of(disk), self._address
        yield f"  look:        nbdinfo '{uri}'"
        yield f"  copy:        qemu-img convert -p -O qcow2 -f raw '{uri}' {copy}"
        yield f"  run from it: qemu-img create -f qcow2 -F raw -b '{uri}' {copy}"
        where = f"-unix {at.path}" if isinstance(at, UnixAddress) else f"{at.host} {at.port}"
        yield f"  as a device: nbd-client {where} /dev/nbd0 -N {quote(disk)} -readonly"

    def check(self) -> None:
        """It does not end by itself."""

    def stop(self) -> None:
        if self._server is not None:
            self._server.stop()


class _ByIscsi:
    """By iSCSI. The secret is never shown: it stays in its file."""

    def __init__(self, address: TcpAddress, mount: Mounting) -> None:
        self._address, self._mount = address, mount
        self._server: IscsiServer | None = None

    def start(self, disks: Disks, on_end: Callable[[], None]) -> dict[str, str]:
        self._server = IscsiServer(
            Folder(disks.reader, disks.complaints), disks.exports, self._address,
            point_id=disks.reader.point.point_id, mount=self._mount, on_end=on_end,
        )  # fmt: skip
        self._server.start()
        return self._server.uris()

    def told(self) -> dict[str, str]:
        return {"target": self._started.target, "user": USER, "secret_file": self._started.secret_file}

    def lines(self, disk: str, uri: str) -> Iterator[str]:
        file, at, unit = self._started.secret_file, self._started.address.authority, uri.rpartition("/")[2]
        yield f"  target:      {self._started.target} at {at}"
        yield f"  CHAP:        user {USER}; the secret, for this time only, is in {file}"
        yield (
            f"  copy:        qemu-img convert -p -O qcow2 --object secret,id=s,file={file} --image-opts "
            f"driver=iscsi,transport=tcp,portal={at},target={self._started.target},lun={unit},user={USER},"
            f"password-secret=s {_copy_of(disk)}"
        )

    def check(self) -> None:
        self._started.check()

    def stop(self) -> None:
        if self._server is not None:
            self._server.stop()

    @property
    def _started(self) -> IscsiServer:
        if self._server is None:
            raise AssertionError("it has begun")
        return self._server


def _copy_of(disk: str) -> str:
    """Return a name for a copy of a disk, as a shell takes it."""
    return quote(f"{disk.rpartition('/')[2]}.qcow2")
