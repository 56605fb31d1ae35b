"""What the command line needs of the world it is started in; the composition root hands in the adapters.

Rule of the file: Protocols and plain values. Failures are ``SkyharborError`` with codes of the registry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

DEFAULT_PORT = 8470

MOST_WORKERS = 64
"""Jobs that one worker process takes on at once at most (``workers.settings`` refuses more)."""


@dataclass(frozen=True, slots=True)
class UpOptions:
    """How the embedded stack is started. ``port`` 0 takes a free one; ``workers`` None is the stack's own choice."""

    port: int = DEFAULT_PORT
    workers: int | None = None
    flower: bool = False
    detach: bool = False


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the API of a running stack is, and the operator's token for it."""

    url: str
    token: str


class Stack(Protocol):
    """The one-machine stack that lives under a home folder."""

    def up(self, home: str, options: UpOptions, *, announce: Callable[[Mapping[str, object]], None]) -> None:
        """Start the stack and call ``announce`` once, with the document of :meth:`status`, when it is ready.

        Detached: returns after the announcement. Otherwise: returns when SIGINT or SIGTERM has ended the stack.
        A stack that is already running is announced (with ``already_running`` true) and left alone.
        Raises ``port-busy``, ``home-foreign``, ``home-newer``, ``home-invalid``, ``stack-start-failed``.
        """
        ...

    def down(self, home: str) -> bool:
        """Stop the stack and wait until it has ended; False when none was running."""
        ...

    def status(self, home: str) -> Mapping[str, object]:
        """Return what runs, JSON-able; never raises for a stack that is not running.

        Keys: ``running`` and ``healthy`` (bool), ``home``, ``url`` (None when not running), ``pid``, ``started_at``,
        ``versions`` (name → text), ``processes`` (list of name, pid, alive, hangs (its loops that do), since, restarts,
        rss), ``logs`` (folder), ``warnings`` (sentences for people).
        """
        ...

    def endpoint(self, home: str) -> Endpoint | None:
        """Return where the running stack of this home answers; None when none runs."""
        ...

    def keyring_folder(self, home: str) -> str:
        """Return the folder of the worker's keyring of this home; it may not exist yet."""
        ...

    def cache_folder(self, home: str) -> str:
        """Return the folder of the worker's scratch cache of this home; it may not exist yet."""
        ...


@dataclass(frozen=True, slots=True)
class Listing:
    """A request to list what a recovery point holds. Exactly one of the two files proves the right to read it."""

    store: str
    machine: str
    item: str
    point: str
    path: str | None = None
    key_file: str | None = None
    passphrase_file: str | None = None


class PointLister(Protocol):
    """Reads the names in a recovery point, beside the tower: names and keys never pass through it."""

    def entries(self, listing: Listing) -> Iterator[Mapping[str, object]]:
        """Yield one mapping per entry in path order: path, type, mode, uid, gid, size, mtime, target.

        Raises ``path-not-in-point``, ``wrong-passphrase``, ``vault-missing`` and the other codes of reading.
        """
        ...
