"""What a part of the stack is, and how one process of it is started.

Rule of the file: a part describes itself (``Part``), the supervisor runs it; ``spawn`` is the only place that forks.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from orchestrator.embedded import launcher

MARK = "SKYHARBOR_STACK_MARK"
"""Every child carries ``<home id>:<part>`` under this name in its environment: how orphans are told from strangers."""

_ROTATE_BYTES = 10 * 1024 * 1024
_KEPT_LOGS = 3
_KEPT_ENVIRONMENT = ("PATH", "LD_LIBRARY_PATH", "TZ")


class Identity(StrEnum):
    """As whom a program runs: as the caller, or as the caller under an unprivileged id (for what refuses root)."""

    SAME = "same"
    NAMESPACE = "namespace"


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One program to run.

    ``environment`` is complete, nothing is inherited; ``death_signal`` arrives when we die; a ``umask``
    of -1 is the caller's.
    """

    argv: Sequence[str]
    environment: Mapping[str, str]
    death_signal: signal.Signals = signal.SIGKILL
    identity: Identity = Identity.SAME
    inherited_fds: Sequence[int] = field(default=())
    umask: int = -1


class Part(Protocol):
    """A piece of the stack that runs as one process tree."""

    @property
    def name(self) -> str:
        """The part's name: of its log file, in ``status`` and in messages."""
        ...

    @property
    def needed(self) -> bool:
        """Whether the stack has not started without it."""
        ...

    @property
    def log(self) -> str:
        """Path of the file that takes its standard output and error."""
        ...

    @property
    def stop_signal(self) -> signal.Signals:
        """What asks it to end in good order."""
        ...

    @property
    def stop_seconds(self) -> float:
        """How long it may take to end before it is killed."""
        ...

    def prepare(self) -> None:
        """Make its folders and clear what a killed predecessor left; before every start, and harmless to repeat."""
        ...

    def command(self) -> Command:
        """Return what to run."""
        ...

    def is_ready(self) -> bool:
        """Whether it answers now. Never raises, takes at most two seconds."""
        ...


def base_environment(source: Mapping[str, str]) -> dict[str, str]:
    """Return the little of ``source`` that a server needs: no PG*, no locale, no secrets of the caller's shell."""
    kept = {name: source[name] for name in _KEPT_ENVIRONMENT if name in source}
    return {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C.UTF-8", **kept}


def spawn(command: Command, *, log: str) -> subprocess.Popen[bytes]:
    """Start ``command`` in a session of its own, its output appended to ``log``.

    Call it from a thread that lives as long as the program: the kernel sends ``death_signal`` when that very thread
    ends. A program that cannot be started exits at once with ``launcher.EXIT_NOT_STARTED`` and its reason in the log.
    """
    argv = [sys.executable, "-I", "-S", launcher.__file__, str(os.getpid()), str(int(command.death_signal)),
            command.identity.value, "--", *command.argv]  # fmt: skip
    with open(log, "ab", opener=_private_file) as output:
        return subprocess.Popen(
            argv,
            env=dict(command.environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=tuple(command.inherited_fds),
            umask=command.umask,
            cwd="/",
        )


def rotate(log: str) -> bool:
    """Shift a log of more than 10 MiB to ``.1`` (and ``.1`` to ``.2``, up to ``.3``); whether it was that long.

    Its content is copied and the file emptied in place: a program that has it open for appending, as all of ours do,
    goes on at its beginning. A line written between the two is lost. A missing log is fine.
    """
    if not os.path.exists(log) or os.path.getsize(log) <= _ROTATE_BYTES:
        return False
    for number in range(_KEPT_LOGS, 1, -1):
        with contextlib.suppress(FileNotFoundError):
            os.replace(f"{log}.{number - 1}", f"{log}.{number}")
    with open(log, "rb") as full, open(f"{log}.1", "wb", opener=_private_file) as kept:
        shutil.copyfileobj(full, kept)
    os.truncate(log, 0)
    return True


def tail(log: str, *, lines: int = 12, start: int = 0) -> str:
    """Return the last lines of a log (after byte ``start``) for an error message; empty when there is none."""
    try:
        with open(log, "rb") as handle:
            handle.seek(max(start, handle.seek(0, os.SEEK_END) - 8192))
            text = handle.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


def _private_file(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
