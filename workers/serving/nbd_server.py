"""A read-only NBD server over the disks of a point: one thread per client, as many clients as were allowed.

Rule of the file: whoever connects can cost a thread and a few megabytes for a while, and nothing else.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from contextlib import suppress

from shared.errors import SkyharborError
from workers.serving.addresses import Address, TcpAddress
from workers.serving.exports import Exports
from workers.serving.nbd_negotiation import negotiate
from workers.serving.nbd_transmission import Transmission
from workers.serving.nbd_wire import Gone, Wire

MOST_CLIENTS = 64
_PATIENCE = 60.0  # for one message of a client, or for it to take one part of a reply
_GOODBYE = 10.0
_BREATH = 0.5
_KEEPALIVE = ((socket.TCP_KEEPIDLE, 60), (socket.TCP_KEEPINTVL, 15), (socket.TCP_KEEPCNT, 4))


class NbdServer:
    """Serves from ``start`` to ``stop``."""

    def __init__(
        self,
        exports: Exports,
        address: Address,
        *,
        tls: ssl.SSLContext | None = None,
        most_clients: int = MOST_CLIENTS,
        patience: float = _PATIENCE,
    ) -> None:
        self._exports, self._tls, self._patience = exports, tls, patience
        self.address = address
        self._room = threading.BoundedSemaphore(most_clients)
        self._clients: dict[Wire, threading.Thread] = {}
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._listener: socket.socket | None = None
        self._acceptor = threading.Thread(target=self._accept, name="nbd-accept", daemon=True)

    @property
    def clients(self) -> int:
        """How many are connected right now."""
        with self._lock:
            return len(self._clients)

    def start(self) -> None:
        """Listen; clients are answered when this returns. Raises ``port-busy`` and ``target-invalid``."""
        self._listener = self.address.listen()
        if isinstance(self.address, TcpAddress):
            self.address = TcpAddress(self.address.host, self._listener.getsockname()[1])
        self._acceptor.start()

    def uris(self) -> dict[str, str]:
        """Return the address of every disk by its name."""
        return {export.name: self.address.uri(export.name, tls=self._tls is not None) for export in self._exports}

    def stop(self) -> None:
        """Cut all clients off and let go of the address. Idempotent."""
        self._stopping.set()
        if self._listener is None:
            return
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes whoever waits in accept
        self._acceptor.join(_GOODBYE)
        self._listener.close()
        self._listener = None
        self.address.forget()
        with self._lock:
            clients = dict(self._clients)
        for wire in clients:
            wire.cut()
        ends = time.monotonic() + _GOODBYE
        for thread in clients.values():
            thread.join(max(0, ends - time.monotonic()))  # one that waits for the store does not hear us

    def _accept(self) -> None:
        while not self._stopping.is_set() and self._listener is not None:
            try:
                connection, _ = self._listener.accept()
            except OSError:  # stopped, or no descriptor left just now
                self._stopping.wait(_BREATH)
                continue
            if self._stopping.is_set() or not self._room.acquire(blocking=False):
                connection.close()
                continue
            self._welcome(connection)

    def _welcome(self, connection: socket.socket) -> None:
        if connection.family != socket.AF_UNIX:
            with suppress(OSError):
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                for option, value in _KEEPALIVE:
                    connection.setsockopt(socket.IPPROTO_TCP, option, value)
        wire = Wire(connection, patience=self._patience)
        thread = threading.Thread(target=self._serve, args=(wire,), name="nbd-client", daemon=True)
        with self._lock:
            self._clients[wire] = thread
        try:
            thread.start()
        except RuntimeError:  # this machine has no thread left
            self._leave(wire)

    def _serve(self, wire: Wire) -> None:
        try:
            chosen = negotiate(wire, self._exports, self._tls)
            if chosen is not None:
                Transmission(wire, chosen).run()
        except Gone:
            pass  # clients come and go
        finally:
            self._leave(wire)

    def _leave(self, wire: Wire) -> None:
        wire.close()
        with self._lock:
            self._clients.pop(wire, None)
        self._room.release()


def tls_context(*, cert: str | None, key: str | None, ca: str | None) -> ssl.SSLContext | None:
    """Return the context for a certificate and its key, None without them; ``ca`` signs those that clients must have.

    Raises ``bad-request`` when files are missing, cannot be read, or do not belong together.
    """
    if cert is None and key is None and ca is None:
        return None
    if cert is None or key is None:
        raise SkyharborError("bad-request", "TLS needs both --tls-cert and --tls-key")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(cert, key, password=_no_password)
        if ca is not None:
            context.load_verify_locations(ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ValueError) as error:
        raise SkyharborError("bad-request", f"the certificates cannot be used: {error}") from error
    return context


def _no_password() -> str:
    raise ValueError("the key is encrypted, and nobody is asked for its password")
