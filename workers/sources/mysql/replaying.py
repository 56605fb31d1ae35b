"""Brings a prepared data folder to a moment: a private server does again what the log of changes says, and ends.

The server listens on a socket inside of the data folder and nowhere else, runs as the owner of the data, writes no log
of its own, follows no other server and starts no events. It begins without accounts, or it could be entered only by
those who know a password of then; the one session that does the changes reads the accounts first, so that changes of
accounts can be done again, too.

Rule of the file: an error in what is done again is an error of the restore, never passed over.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from shared.errors import SkyharborError
from workers.sources.mysql.child import Check, Child
from workers.sources.mysql.reports import no_room, why_not_restored

_SOCKET: Final = "skyharbor.sock"  # relative to the data folder: paths of sockets have 107 bytes at most
_STALL: Final = 3600.0
_STARTING: Final = 600.0
_ENDING: Final = 1800.0
_PAUSE: Final = 0.05
_ROOM: Final = 256 * 1024
_READY: Final = "ready for connections"


@dataclass(frozen=True, slots=True)
class Programs:
    """Paths of what is needed, all of the point's series."""

    server: str
    client: str
    binlog: str


@dataclass(frozen=True, slots=True)
class Changes:
    """Files of the log in order, where in the first to begin, and before which second to stop."""

    files: Sequence[str]
    position: int
    until: int


def replay(
    programs: Programs,
    data: str,
    changes: Changes,
    *,
    variables: Mapping[str, str],
    user: tuple[int, int] | None,
    folder: str,
    check: Check,
) -> None:
    """Do the changes again on the data folder, which must belong to ``user``.

    Raises ``target-invalid``, and ``target-full`` while the server waits for room. ``folder`` is where what is said is
    kept for a while: not in the target, where a full disk would swallow it.
    """
    with ExitStack() as stack:
        server = Child(
            [programs.server, *_server_options(data, variables), *_as_root(user)],
            check=check,
            folder=folder,
            stall=_STARTING,
            user=user,
            cwd=data,
            has_output=False,
        )
        stack.callback(server.close)
        watched = _while_room(server, check)
        _wait_until_ready(server, watched)
        _pour(programs, data, changes, server, user=user, folder=folder, check=watched)
        server.process.terminate()
        if server.wait(patience=_ENDING):
            raise _failed("the private server did not end well", server)
    with suppress(FileNotFoundError):
        os.unlink(os.path.join(data, _SOCKET))


def _server_options(data: str, variables: Mapping[str, str]) -> list[str]:
    own = os.path.join(data, "backup-my.cnf")  # how InnoDB's files are laid out
    packet = max(int(variables.get("max_allowed_packet", "0")), 1 << 30)
    told = {name: value for name, value in variables.items() if name != "max_allowed_packet"}
    return [
        f"--defaults-file={own}" if os.path.exists(own) else "--no-defaults",
        f"--datadir={data}",
        f"--socket={_SOCKET}",
        f"--pid-file={_SOCKET}.pid",
        f"--tmpdir={data}",
        "--skip-networking",
        "--skip-grant-tables",
        "--skip-log-bin",
        "--skip-slave-start",
        "--skip-name-resolve",
        "--event-scheduler=OFF",
        "--secure-file-priv=/dev/null",
        "--innodb-flush-log-at-trx-commit=2",
        f"--max-allowed-packet={packet}",
        *(f"--{name.replace('_', '-')}={value}" for name, value in told.items()),
    ]


def _as_root(user: tuple[int, int] | None) -> list[str]:
    """A server whose files are root's runs as root only when it is told to."""
    return ["--user=root"] if (os.geteuid() if user is None else user[0]) == 0 else []


def _wait_until_ready(server: Child, check: Check) -> None:
    deadline = time.monotonic() + _STARTING
    while _READY not in server.said():
        if server.process.poll() is not None:
            raise _failed("the private server did not start", server)
        if time.monotonic() > deadline:
            raise _failed("the private server did not become ready", server)
        check()
        time.sleep(_PAUSE)


def _while_room(server: Child, check: Check) -> Check:
    """A server whose disk is full waits until there is room, and its client with it: nobody would be told."""

    def checked() -> None:
        check()
        if no_room(server.said()):
            raise _failed("the private server has no room", server)

    return checked


def _pour(
    programs: Programs,
    data: str,
    changes: Changes,
    server: Child,
    *,
    user: tuple[int, int] | None,
    folder: str,
    check: Check,
) -> None:
    """Have the log read by one program and done again by another."""
    stop = datetime.fromtimestamp(changes.until, UTC).strftime("%Y-%m-%d %H:%M:%S")
    with ExitStack() as stack:
        log = Child(
            [
                programs.binlog,
                "--no-defaults",
                f"--start-position={changes.position}",
                f"--stop-datetime={stop}",
                *changes.files,
            ],
            check=check,
            folder=folder,
            stall=_STALL,
            cwd="/",
        )
        stack.callback(log.close)
        client = Child(
            [
                programs.client,
                "--no-defaults",
                f"--socket={_SOCKET}",
                "--protocol=socket",
                "--user=root",
                "--binary-mode",
                "--batch",
                "--skip-reconnect",
                "--max-allowed-packet=1G",
                "--init-command=FLUSH PRIVILEGES",
            ],
            check=check,
            folder=folder,
            stall=_STALL,
            user=user,
            cwd=data,
            takes_input=True,
            has_output=False,
        )
        stack.callback(client.close)
        room = memoryview(bytearray(_ROOM))
        while got := log.read_into(room):
            if not client.write(room[:got]):
                break
        else:
            if log.wait():
                raise _failed("the log of changes cannot be read", log)
        client.end_input()
        if client.wait(patience=_STALL):
            raise _failed("a change could not be done again", client, server)


def _failed(what: str, *children: Child) -> SkyharborError:
    """Return why: what the first one said, unless another one knows that the disk is full."""
    said = [child.said() for child in children]
    return why_not_restored(what, next(filter(no_room, said), said[0]))
