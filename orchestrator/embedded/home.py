"""The home folder: what lies where, whose it is, and the secrets made at the first start.

Rule of the file: a home is never guessed, downgraded or taken over. A folder is a home when ``home.json`` says so, and
that file is the first thing written into a new one.

    home.json   format, id                     keyring/  unwrapped data keys of machines (0700)
    secrets/    token, worker.token (0600)     worker/   the worker's lock and cache
    postgres/   cluster and password           valkey/   the broker's append-only file
    run/        lock, sockets, stack.json      logs/     one file per process
    hooks.d/    programs that items may name   (0700)
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
import tempfile
from dataclasses import dataclass
from datetime import datetime

import msgspec

from shared.decoders import json_decoder
from shared.errors import SkyharborError
from shared.model.ids import new_id

FORMAT = 1
_BEFORE_FIRST_START = {"keyring", "lost+found"}  # what may lie there without making a folder somebody else's


class _HomeFile(msgspec.Struct, frozen=True, kw_only=True):
    """``home.json``; later formats may add keys, never change these."""

    format: int
    id: str
    created_at: str = ""
    created_by: str = ""


@dataclass(frozen=True, slots=True)
class Home:
    """Paths of one home. Making this object touches nothing."""

    path: str
    id: str = ""

    @property
    def lock(self) -> str:
        """The file whose lock the one supervisor holds."""
        return os.path.join(self.run, "supervisor.lock")

    @property
    def record(self) -> str:
        """``stack.json``: there while the stack is ready."""
        return os.path.join(self.run, "stack.json")

    @property
    def run(self) -> str:
        """Things that mean nothing after a reboot."""
        return os.path.join(self.path, "run")

    def pulse(self, process: str) -> str:
        """The file in which a process says that it is ready, and that it goes on."""
        return os.path.join(self.run, f"{process}.ready")

    @property
    def logs(self) -> str:
        """One log file per process."""
        return os.path.join(self.path, "logs")

    @property
    def token(self) -> str:
        """The file with the operator's token for the API."""
        return os.path.join(self.path, "secrets", "token")

    @property
    def worker_token(self) -> str:
        """The file with the worker's token for the work API."""
        return os.path.join(self.path, "secrets", "worker.token")

    @property
    def postgres(self) -> str:
        """The database's folder."""
        return os.path.join(self.path, "postgres")

    @property
    def valkey(self) -> str:
        """The broker's folder."""
        return os.path.join(self.path, "valkey")

    @property
    def keyring(self) -> str:
        """The worker's keyring."""
        return os.path.join(self.path, "keyring")

    @property
    def hooks(self) -> str:
        """Programs that items may have run around their backups: whoever may put one here owns the stack."""
        return os.path.join(self.path, "hooks.d")

    @property
    def worker(self) -> str:
        """The worker's own state."""
        return os.path.join(self.path, "worker")

    @property
    def cache(self) -> str:
        """The worker's scratch cache, as the worker itself names it in its state."""
        return os.path.join(self.worker, "cache")

    def log(self, name: str) -> str:
        """The log file of the process called ``name``."""
        return os.path.join(self.logs, f"{name}.log")


def find_home(path: str) -> Home | None:
    """Return the home at ``path``, or None when nothing is there yet.

    Raises ``home-foreign`` for a folder of another user (root gets no exception: files made by root inside would lock
    the owner out), ``home-newer``, and ``home-invalid`` for everything else that is not a home of ours.
    """
    path = os.path.realpath(path)
    try:
        found = os.stat(path)
        if not stat.S_ISDIR(found.st_mode):
            raise SkyharborError("home-invalid", f"{path} is not a folder")
        if found.st_uid != os.geteuid():
            raise SkyharborError("home-foreign", f"{path} belongs to user id {found.st_uid}, this is {os.geteuid()}")
        if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise SkyharborError("home-invalid", f"{path} can be written by other users; run: chmod go-w {path}")
        names = set(os.listdir(path))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SkyharborError("home-invalid", f"{path}: {error.strerror}") from error
    if "home.json" in names:
        return Home(path, _read(os.path.join(path, "home.json")).id)
    strangers = sorted(name for name in names - _BEFORE_FIRST_START if not name.startswith(".home.json-"))
    if strangers:
        raise SkyharborError(
            "home-invalid", f"{path} is no Skyharbor home and holds other things, such as {strangers[0]}"
        )
    return None


def make_home(path: str, *, now: datetime, version: str) -> Home:
    """Return the home at ``path``, made when there is none, with its folders and secrets.

    Idempotent; whatever is missing is made, nothing that exists is overwritten, not even by two calls at once. Killed
    inside: the next call goes on.
    Raises what ``find_home`` raises, and ``home-invalid`` when the folder cannot be written.
    """
    home = find_home(path)
    try:
        if home is None:
            home = _create(os.path.realpath(path), now, version)
        for folder in (home.run, home.logs, home.keyring, home.worker, home.hooks, os.path.dirname(home.token)):
            os.makedirs(folder, mode=0o700, exist_ok=True)
            os.chmod(folder, 0o700)
        for secret in (home.token, home.worker_token):
            if not os.path.exists(secret):
                _write_new(secret, secrets.token_urlsafe(32) + "\n")
    except OSError as error:
        raise SkyharborError("home-invalid", f"{error.filename or path}: {error.strerror}") from error
    return home


def write_whole(path: str, text: str) -> None:
    """Replace a 0600 file: the old or the new content is there, whole; once this returns, the new one for good."""
    temporary = _write_aside(path, text)
    os.replace(temporary, path)
    _sync_folder(os.path.dirname(path))


def _write_new(path: str, text: str) -> None:
    """Like ``write_whole``, but a file that is there already stays as it is."""
    temporary = _write_aside(path, text)
    with contextlib.suppress(FileExistsError):
        os.link(temporary, path)
    os.unlink(temporary)
    _sync_folder(os.path.dirname(path))


def _write_aside(path: str, text: str) -> str:
    folder, name = os.path.split(path)
    descriptor, temporary = tempfile.mkstemp(prefix=f".{name}-", dir=folder)
    with open(descriptor, "w", encoding="utf-8") as handle:
        handle.write(text)
        handle.flush()
        os.fsync(handle.fileno())
    return temporary


def _sync_folder(path: str) -> None:
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _create(path: str, now: datetime, version: str) -> Home:
    os.makedirs(path, mode=0o700, exist_ok=True)
    facts = _HomeFile(format=FORMAT, id=new_id(), created_at=now.isoformat(), created_by=version)
    file = os.path.join(path, "home.json")
    _write_new(file, msgspec.json.encode(facts).decode() + "\n")
    return Home(path, _read(file).id)  # of whoever came first


def _read(path: str) -> _HomeFile:
    try:
        with open(path, "rb") as handle:
            facts = json_decoder(_HomeFile).decode(handle.read())
    except (OSError, msgspec.MsgspecError) as error:
        raise SkyharborError("home-invalid", f"{path} cannot be read: {error}") from error
    if facts.format > FORMAT:
        raise SkyharborError(
            "home-newer", f"{path} has format {facts.format} (made by {facts.created_by}), this program knows {FORMAT}"
        )
    return facts
