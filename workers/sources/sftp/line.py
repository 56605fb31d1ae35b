"""A line to an SSH server: asyncssh in a thread of its own, used by others as if it were synchronous.

Many requests may be under way at once, from any thread. Every call has a time limit.

Rule of the file: the server's key must be known beforehand; one that is not, or is another now, is refused. Neither the
user's SSH configuration nor an agent is asked: what a backup may do is in its credentials file.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as TooLate
from contextlib import suppress
from typing import Any, TypeVar

import asyncssh

from shared.errors import SkyharborError
from workers.sources.sftp.address import SftpAddress
from workers.sources.sftp.login import Login, refused
from workers.sources.shares.lines import LineLost

DIAL_SECONDS = 20.0
PATIENCE = 60.0

_T = TypeVar("_T")
_Dialled = tuple[asyncssh.SSHClientConnection, asyncssh.SFTPClient]
Act = Callable[[asyncssh.SFTPClient], Coroutine[Any, Any, _T]]

logging.getLogger("asyncssh").setLevel(logging.CRITICAL)  # what goes wrong is in the errors


class SshLine:
    """One connection. Raises ``source-denied`` for what another try does not change, ``LineLost`` otherwise."""

    def __init__(self, address: SftpAddress, login: Login) -> None:
        self._loop = asyncio.new_event_loop()
        # Whoever waits for something meets what became of it; what nobody waits for any more is not worth a word.
        self._loop.set_exception_handler(lambda *_: None)
        self._helper = ThreadPoolExecutor(1)  # looks for the host; the loop's own would not be waited for
        self._loop.set_default_executor(self._helper)
        self._thread = threading.Thread(target=self._run, name="ssh", daemon=True)
        self._thread.start()
        self.lost = False
        try:
            self._connection, self._sftp = self._wait(self._dial(address, login), DIAL_SECONDS)
        except LineLost as error:
            self.close()
            raise LineLost(f"{address.text}: {error}") from error
        except BaseException:
            self.close()
            raise

    def begin(self, act: Act[_T]) -> Future[_T]:
        """Begin something that is done over the line."""
        if self.lost:
            raise LineLost("the line was lost")
        work = act(self._sftp)
        try:
            return asyncio.run_coroutine_threadsafe(work, self._loop)
        except RuntimeError as error:  # another thread has hung up just now
            work.close()
            raise LineLost("the line was lost") from error

    def result(self, future: Future[_T]) -> _T:
        """Wait for what was begun. Raises ``asyncssh.SFTPError`` for what the server says no to."""
        try:
            return future.result(PATIENCE)
        except TooLate as error:
            future.cancel()
            self.close()
            raise LineLost(f"the server said nothing for {PATIENCE:.0f} s") from error
        except (asyncssh.SFTPNoConnection, asyncssh.SFTPConnectionLost) as error:
            self.close()
            raise LineLost(str(error)) from error
        except asyncssh.SFTPError:
            raise
        except (OSError, asyncssh.Error, CancelledError) as error:
            self.close()
            raise LineLost(str(error) or type(error).__name__) from error

    def call(self, act: Act[_T]) -> _T:
        """Do something over the line."""
        return self.result(self.begin(act))

    def close(self) -> None:
        """Hang up. Idempotent."""
        self.lost = True
        if self._loop.is_closed():
            return
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._end)
        if threading.current_thread() is not self._thread:
            self._thread.join(5)

    # ── inside ───────────────────────────────────────────────────────────────────────────────────────

    def _run(self) -> None:
        try:
            self._loop.run_forever()
        finally:
            self._loop.close()
            self._helper.shutdown()

    def _end(self) -> None:
        connection = getattr(self, "_connection", None)
        if connection is not None:
            connection.abort()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.call_soon(self._loop.call_soon, self._loop.stop)  # once the cancelled ones have had their turn

    def _wait(self, work: Coroutine[Any, Any, _T], seconds: float) -> _T:
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(seconds)
        except TooLate as error:
            future.cancel()
            raise LineLost(f"the server said nothing for {seconds:.0f} s") from error
        except (OSError, asyncssh.Error) as error:
            raise LineLost(str(error) or type(error).__name__) from error

    async def _dial(
        self, address: SftpAddress, login: Login
    ) -> tuple[asyncssh.SSHClientConnection, asyncssh.SFTPClient]:
        try:
            connection = await asyncssh.connect(
                address.host,
                address.port,
                username=login.user,
                password=login.password or None,
                client_keys=_keys(address, login),
                known_hosts=_known(address, login),
                config=None,
                agent_path=None,
                compression_algs=None,
                connect_timeout=DIAL_SECONDS,
                login_timeout=DIAL_SECONDS,
                keepalive_interval=15,
                keepalive_count_max=3,
            )
        except asyncssh.HostKeyNotVerifiable as error:
            raise _distrusted(address, login) from error
        except asyncssh.PermissionDenied as error:
            raise refused(
                address,
                f"the server does not accept user {login.user} with this {'key' if login.key else 'password'}",
                "Check user=, and password= or key=, in the credentials file on the worker's machine.",
            ) from error
        try:
            return connection, await connection.start_sftp_client(path_encoding=None)
        except (asyncssh.ChannelOpenError, asyncssh.SFTPError) as error:
            connection.abort()
            raise refused(address, "the server has no SFTP", "Enable the sftp subsystem of its sshd.") from error


def _keys(address: SftpAddress, login: Login) -> list[asyncssh.SSHKey] | None:
    if not login.key:
        return None
    try:
        return [asyncssh.read_private_key(login.key, login.passphrase or None)]
    except (OSError, asyncssh.KeyImportError, asyncssh.KeyEncryptionError) as error:
        reason = error.strerror if isinstance(error, OSError) else type(error).__name__
        raise refused(
            address, f"the key {login.key} cannot be used: {reason}", "Name a private key, and its passphrase= if any."
        ) from error


def _known(address: SftpAddress, login: Login) -> asyncssh.SSHKnownHosts:
    try:
        return asyncssh.read_known_hosts(login.known_hosts)
    except (OSError, ValueError) as error:
        raise refused(
            address,
            f"the file of known keys {login.known_hosts} cannot be read",
            f"Make it with '{address.keyscan} >FILE', and compare the key with the server's own.",
        ) from error


def _distrusted(address: SftpAddress, login: Login) -> SkyharborError:
    """Return what is said of a key that is not the known one: there is none, or it is another."""
    matched = asyncssh.match_known_hosts(login.known_hosts, address.host, "", address.port)
    if any(matched[:2]):
        return refused(
            address,
            f"the server shows another key than the one in {login.known_hosts}",
            "Somebody may be in between. Ask whoever runs the server before you replace the key.",
        )
    return refused(
        address,
        f"the server's key is not in {login.known_hosts}",
        f"Add it with '{address.keyscan} >>{login.known_hosts}', and compare it with the server's own.",
    )
