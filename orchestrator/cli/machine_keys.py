"""The secrets of a machine as they pass through the operator's hands: passphrase in, wrapped key out.

Rule of the file: a passphrase or a DEK goes to the keyring, to a file that the operator named, or to the operator's
eyes; never to the tower, never onto a command line, never into a message.
"""

from __future__ import annotations

import contextlib
import os
import sys
from dataclasses import dataclass

import typer

from orchestrator.cli.session import Session
from shared.errors import SkyharborError


@dataclass(frozen=True, slots=True)
class Passphrase:
    """A passphrase and whether it was made here, in which case the operator has yet to see it."""

    text: str
    generated: bool


def obtain_passphrase(*, file: str | None, generate: bool) -> Passphrase:
    """Return the passphrase for new key slots: from a file, made up, or asked for twice on a terminal.

    Raises ``bad-request`` when both ways are chosen, when the two entries differ, and when there is nobody to ask;
    ``passphrase-too-short`` below 16 characters.
    """
    from shared.crypto.passphrase import check_passphrase, generate_passphrase, read_passphrase_file

    if file is not None and generate:
        raise SkyharborError("bad-request", "--passphrase-file and --generate-passphrase exclude each other")
    if generate:
        return Passphrase(generate_passphrase(), generated=True)
    text = read_passphrase_file(file) if file is not None else _ask_new()
    check_passphrase(text)
    return Passphrase(text, generated=False)


def known_passphrase(file: str | None) -> str:
    """Return an existing passphrase from a file, or asked for once on a terminal; whatever its length."""
    from shared.crypto.passphrase import read_passphrase_file

    if file is not None:
        return read_passphrase_file(file)
    _need_terminal("--passphrase-file FILE")
    return str(typer.prompt("Passphrase", hide_input=True, err=True))


def _ask_new() -> str:
    _need_terminal("--passphrase-file FILE or --generate-passphrase")
    return str(typer.prompt("Passphrase (at least 16 characters)", hide_input=True, confirmation_prompt=True, err=True))


def _need_terminal(instead: str) -> None:
    if not sys.stdin.isatty():
        raise SkyharborError("bad-request", f"there is no terminal to ask for a passphrase: give {instead}")


class KeptKey:
    """Where the DEK of a machine is kept: the keyring of this home, or a file for a worker elsewhere."""

    def __init__(self, session: Session, *, key_file: str | None) -> None:
        """Decide the place; raises ``bad-request`` when neither a file nor a home of this server is there."""
        self._folder = session.stack.keyring_folder(session.home)
        self._file = os.path.abspath(key_file) if key_file is not None else None
        if self._file is None and not session.is_local() and not os.path.isdir(self._folder):
            raise SkyharborError(
                "bad-request",
                f"the server is not the stack of {session.home}: say where the worker's key goes",
                hint="Give --key-file PATH and carry the file to the worker's keyring.",
            )

    def put(self, machine_id: str, dek: bytes) -> str:
        """Keep the key, durably and readable by its owner only; returns the file's path.

        Raises ``already-exists`` rather than replacing another key, and ``store-denied`` or ``store-full``.
        """
        from shared.crypto.keyring import Keyring

        if self._file is None:
            Keyring(self._folder).put(machine_id, dek)
            return Keyring(self._folder).path(machine_id)
        _write_key_file(self._file, machine_id, dek)
        return self._file

    def forget(self, machine_id: str) -> None:
        """Remove a key that was just kept for a machine that the tower refused. Idempotent."""
        from shared.crypto.keyring import Keyring

        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._file or Keyring(self._folder).path(machine_id))


def _write_key_file(path: str, machine_id: str, dek: bytes) -> None:
    """Let a keyring write the file beside its place and link it there, so that nothing is ever overwritten."""
    import shutil
    import tempfile

    from shared.crypto.keyring import Keyring

    try:
        folder = tempfile.mkdtemp(prefix=".key-", dir=os.path.dirname(path))
    except OSError as error:
        raise SkyharborError("store-denied", f"{path}: {error.strerror}") from error
    try:
        Keyring(folder).put(machine_id, dek)
        os.link(Keyring(folder).path(machine_id), path)
    except FileExistsError as error:
        raise SkyharborError("already-exists", f"{path} is there already") from error
    except OSError as error:
        raise SkyharborError("store-denied", f"{path}: {error.strerror}") from error
    finally:
        shutil.rmtree(folder)
