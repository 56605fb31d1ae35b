"""Dials a share: connection, login and tree by smbprotocol, which then hands its socket over to a ``Wire``.

Rule of the file: everything has a time limit, and every way in which dialing fails has its own words. A guest, an
unsigned session or a server without SMB 2.1 is refused: what it says could be anybody's.
"""

from __future__ import annotations

import logging
import socket
import threading
import uuid
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from smbprotocol.connection import Connection, Dialects, SMB2Echo
from smbprotocol.exceptions import SMBAuthenticationError, SMBException, SMBResponseException
from smbprotocol.session import Session
from smbprotocol.tree import TreeConnect

from shared.clock import Clock
from workers.sources.smb.address import SmbAddress
from workers.sources.smb.crypt import SessionKeys
from workers.sources.smb.login import Login, Unreachable, refused
from workers.sources.smb.wire import Terms, Wire

DIAL_SECONDS = 20.0
PATIENCE = 60.0

_NO_LOGIN = {0xC000006D, 0xC000006A, 0xC0000064, 0xC0000022}
_CANNOT_LOGIN = {
    0xC0000234: "the account is locked out",
    0xC0000072: "the account is disabled",
    0xC0000071: "the password has expired",
    0xC0000224: "the password must be changed first",
    0xC0000193: "the account has expired",
    0xC000006F: "the account may not log in at this time",
    0xC000015B: "the account may not log in over the network",
}
_NO_SHARE = 0xC00000CC
_DENIED = 0xC0000022

logging.getLogger("smbprotocol").setLevel(logging.CRITICAL)  # its traces name nothing that our errors do not


def dial(address: SmbAddress, login: Login, *, clock: Clock, patience: float = PATIENCE) -> tuple[Wire, float]:
    """Return a wire, and by how many seconds the server's clock is ahead of ours.

    Raises ``Unreachable``, and ``source-denied`` for what another try does not change.
    """
    connection = Connection(uuid.uuid4(), address.host, address.port, require_signing=True)
    dog = threading.Timer(DIAL_SECONDS, lambda: _cut(connection))
    dog.daemon = True
    dog.start()
    try:
        return _dialed(connection, address, login, clock, patience)
    except BaseException:
        _cut(connection)
        with suppress(Exception):
            connection._t_worker.join(DIAL_SECONDS)
        raise
    finally:
        dog.cancel()
        dog.join()


def _dialed(
    connection: Connection, address: SmbAddress, login: Login, clock: Clock, patience: float
) -> tuple[Wire, float]:
    heard: list[datetime] = []
    try:
        _note_time(connection, heard)
        connection.connect(timeout=int(DIAL_SECONDS))
    except (ValueError, OSError, SMBException) as error:
        raise Unreachable(f"{address.text}: {_plain(error)}") from error
    ahead = (heard[0] - clock.now()).total_seconds() if heard else 0.0
    if connection.dialect < Dialects.SMB_2_1_0 or not connection.supports_multi_credit:
        raise refused(address, "the server speaks no SMB 2.1 or newer", "Allow SMB 2.1 to 3.1.1 on the server.")
    session = _logged_in(connection, address, login)
    tree = _connected(session, address)
    return _handed_over(connection, session, tree, patience), ahead


def _note_time(connection: Connection, heard: list[datetime]) -> None:
    """Have the time noted that the server tells when it is first spoken to."""
    negotiate = connection._send_smb2_negotiate

    def noting(*args: Any, **options: Any) -> Any:
        answer = negotiate(*args, **options)
        time = answer["system_time"].get_value()
        heard.append(time if time.tzinfo else time.replace(tzinfo=UTC))
        return answer

    connection._send_smb2_negotiate = noting


def _logged_in(connection: Connection, address: SmbAddress, login: Login) -> Session:
    user = f"{login.domain}\\{login.user}" if login.domain else login.user
    encrypted = bool(connection.supports_encryption)
    session = Session(connection, user, login.password, require_encryption=encrypted)
    try:
        session.connect()
    except SMBResponseException as error:
        if error.status in _NO_LOGIN:
            raise refused(
                address,
                f"the server does not accept user {login.user} with this password",
                "Check user=, password= and domain= in the credentials file on the worker's machine.",
            ) from error
        if error.status in _CANNOT_LOGIN:
            raise refused(
                address, f"user {login.user}: {_CANNOT_LOGIN[error.status]}", "Ask whoever keeps the accounts."
            ) from error
        raise Unreachable(f"{address.text}: {_plain(error)}") from error
    except SMBAuthenticationError as error:
        raise refused(
            address, f"user {login.user} cannot log in: {_plain(error)}", "Check the credentials file."
        ) from error
    except (OSError, SMBException, ValueError) as error:
        if "guest" in str(error):
            raise refused(address, "the server takes us for a guest", "Name a user that the server knows.") from error
        raise Unreachable(f"{address.text}: {_plain(error)}") from error
    return session


def _connected(session: Session, address: SmbAddress) -> TreeConnect:
    tree = TreeConnect(session, rf"\\{address.host}\{address.share}")
    try:
        tree.connect()
    except SMBResponseException as error:
        if error.status == _NO_SHARE:
            raise refused(
                address, f"the server has no share {address.share}", "List its shares with 'smbclient -L HOST'."
            ) from error
        if error.status == _DENIED:
            raise refused(
                address,
                f"this user may not use the share {address.share}",
                "Let the user read it, at best as a backup operator.",
            ) from error
        raise Unreachable(f"{address.text}: {_plain(error)}") from error
    except (OSError, SMBException) as error:
        raise Unreachable(f"{address.text}: {_plain(error)}") from error
    return tree


class _Ending:
    """Stands in the place of the transport: sends as it does, and has nothing any more for who reads."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self.connected = True
        self.send = transport.send

    def recv(self, _timeout: float) -> bytes:
        return b""

    def close(self) -> None:
        self._transport.close()


def _handed_over(connection: Connection, session: Session, tree: TreeConnect, patience: float) -> Wire:
    """End smbprotocol's reading thread with an echo, behind which it finds no more to read, and take its socket."""
    transport = connection.transport
    connection.transport = _Ending(transport)
    try:
        connection.receive(
            connection.send(SMB2Echo(), sid=session.session_id, credit_request=256), timeout=DIAL_SECONDS
        )
    except (OSError, SMBException) as error:
        raise Unreachable(_plain(error)) from error
    connection._t_worker.join(DIAL_SECONDS)
    window = connection.sequence_window
    keys = SessionKeys(
        session_id=session.session_id,
        signing=session.signing_key,
        signing_algorithm=_signing(connection),
        cipher=_cipher(connection) if session.encrypt_data or tree.encrypt_data else 0,
        encryption=session.encryption_key or b"",
        decryption=session.decryption_key or b"",
    )
    terms = Terms(
        keys=keys,
        tree_id=tree.tree_connect_id,
        next_id=window["low"],
        credits=window["high"] - window["low"],
        most_read=connection.max_read_size,
        most_write=connection.max_write_size,
    )
    # smbprotocol's objects hold each other, and would keep the connection open until the garbage collector comes.
    taken = socket.socket(fileno=transport._sock.detach())
    taken.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return Wire(taken, terms, patience=patience)


def _signing(connection: Connection) -> int:
    if connection.dialect >= Dialects.SMB_3_1_1 and connection.signing_algorithm_id is not None:
        return int(connection.signing_algorithm_id)
    return 1 if connection.dialect >= Dialects.SMB_3_0_0 else 0


def _cipher(connection: Connection) -> int:
    return int(connection.cipher_id) if connection.dialect >= Dialects.SMB_3_1_1 else 1


def _cut(connection: Connection) -> None:
    with suppress(Exception):
        connection.transport._sock.shutdown(socket.SHUT_RDWR)
    with suppress(Exception):
        connection.transport.close()


def _plain(error: Exception) -> str:
    return str(error).strip() or type(error).__name__
