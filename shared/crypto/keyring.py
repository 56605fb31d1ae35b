"""The keyring: the DEKs that a worker may use without asking, one file per machine.

Rule of the file: keys are readable by their owner only or not used at all; a key is never overwritten by another one,
because the key that is lost that way may be the only one that opens a machine's recovery points.
"""

from __future__ import annotations

import base64
import errno
import hashlib
import json
import os
import re
import secrets
import stat

from shared.crypto.domain_keys import DEK_SIZE
from shared.errors import SkyharborError

_MACHINE_ID = re.compile(r"[0-9a-z][0-9a-z_-]{0,63}")
_MAX_FILE_BYTES = 4096
_FULL = (errno.ENOSPC, errno.EDQUOT)


class Keyring:
    """DEKs in files ``<machine-id>.key`` of one folder. Several processes may use the folder at once."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def path(self, machine_id: str) -> str:
        """Return where the key of a machine is or would be; raises ``bad-request`` for an id that is no plain word."""
        if _MACHINE_ID.fullmatch(machine_id) is None:
            raise SkyharborError("bad-request", f"not a machine id: {machine_id[:80]!r}")
        return os.path.join(self._folder, f"{machine_id}.key")

    def put(self, machine_id: str, dek: bytes) -> None:
        """Keep a DEK, durably; makes the folder (0700) and the file (0600). Putting the same DEK again changes nothing.

        Killed at any point: the whole key is there or none. A damaged file is replaced. Raises ``already-exists`` when
        another key is held for the machine, ``store-denied`` and ``store-full`` when the folder cannot be written.
        """
        path = self.path(machine_id)
        try:
            os.makedirs(self._folder, mode=0o700, exist_ok=True)
            _refuse_others(os.stat(self._folder), self._folder)
            self._write(path, machine_id, dek)
        except OSError as error:
            code = "store-full" if error.errno in _FULL else "store-denied"
            raise SkyharborError(code, f"the keyring {self._folder}: {error.strerror}") from None

    def get(self, machine_id: str) -> bytes:
        """Return the DEK of a machine. Raises ``key-missing`` when it is absent, damaged or readable by others."""
        return read_key_file(self.path(machine_id), machine_id=machine_id)

    def has(self, machine_id: str) -> bool:
        """Return whether a key file is there; ``get`` may still refuse it."""
        return os.path.lexists(self.path(machine_id))

    def _write(self, path: str, machine_id: str, dek: bytes) -> None:
        temporary = os.path.join(self._folder, f".{secrets.token_hex(8)}.tmp")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with open(descriptor, "wb") as file:
                file.write(_encode(machine_id, dek))
                file.flush()
                os.fsync(descriptor)
            if not _place(temporary, path) and self._held(machine_id) != dek:
                if self._held(machine_id) is not None:
                    raise SkyharborError("already-exists", f"the keyring holds another key for machine {machine_id}")
                os.replace(temporary, path)
            _sync_folder(self._folder)
        finally:
            if os.path.lexists(temporary):
                os.unlink(temporary)

    def _held(self, machine_id: str) -> bytes | None:
        """Return the key that is there, or None when nothing usable is."""
        try:
            return self.get(machine_id)
        except SkyharborError:
            return None


def read_key_file(path: str, *, machine_id: str) -> bytes:
    """Return the DEK in one file of a keyring, when it is the key of ``machine_id``.

    Raises ``key-missing`` when the file is absent, damaged, of another machine, not a plain file, or when its group or
    others could read or write it.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise SkyharborError("key-missing", f"{path}: {error.strerror}") from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise SkyharborError("key-missing", f"{path} is not a plain file")
        _refuse_others(status, path)
        data = os.read(descriptor, _MAX_FILE_BYTES)
    except OSError as error:
        raise SkyharborError("key-missing", f"{path}: {error.strerror}") from None
    finally:
        os.close(descriptor)
    return _decode(data, path, machine_id)


def _refuse_others(status: os.stat_result, path: str) -> None:
    if status.st_mode & 0o077:
        raise SkyharborError(
            "key-missing", f"{path} is open to others (mode {stat.S_IMODE(status.st_mode):04o}), refused"
        )


def _encode(machine_id: str, dek: bytes) -> bytes:
    if len(dek) != DEK_SIZE:
        raise ValueError("a DEK has 32 bytes")
    text = base64.b64encode(dek).decode("ascii")
    document = {"format": 1, "machine_id": machine_id, "dek": text, "check": _check(machine_id, text)}
    return json.dumps(document, indent=1).encode("ascii") + b"\n"


def _decode(data: bytes, path: str, machine_id: str) -> bytes:
    damaged = SkyharborError("key-missing", f"{path} is damaged")
    try:
        document = json.loads(data)
        text, check = document["dek"], document["check"]
        dek = base64.b64decode(text, validate=True)
        owner = str(document["machine_id"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise damaged from None
    if check != _check(owner, text) or len(dek) != DEK_SIZE:
        raise damaged
    if owner != machine_id:
        raise SkyharborError("key-missing", f"{path} is the key of machine {owner}, not of {machine_id}")
    return dek


def _check(machine_id: str, text: str) -> str:
    """Return a checksum against damage; it adds nothing for who can read the key beside it."""
    return hashlib.sha256(f"skyharbor/v1/key-file\0{machine_id}\0{text}".encode()).hexdigest()[:16]


def _place(temporary: str, path: str) -> bool:
    """Give the finished file its name; False when the name is taken."""
    try:
        os.link(temporary, path, follow_symlinks=False)
    except FileExistsError:
        return False
    return True


def _sync_folder(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
