"""The storage port: what a vault needs of a place, and nothing more.

Rule of the file: names are relative, ``/``-separated, made of ``[a-z0-9._-]`` parts, never ``.`` or ``..``; objects
are written once and never changed. Errors are ``SkyharborError`` with the codes named at each method, whatever the
backend; anything else that a backend raises is a defect of that backend.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from typing_extensions import Buffer


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """An object's name and its stored size in bytes."""

    name: str
    size: int


def never_stop() -> None:
    """Let a waiting decorator wait on: the ``check`` of whoever cannot be told to stop."""


class ObjectStore(Protocol):
    """A flat, write-once object store. Every method may be called from several threads at once."""

    def describe(self) -> str:
        """Return the URL for people, without credentials."""
        ...

    def put(self, name: str, parts: Sequence[Buffer]) -> bool:
        """Store an object durably, made of ``parts`` in order; create-if-absent, atomically.

        The parts are iterated at most once per call; a backend that can writes each before it asks for the next one.
        Returns True when this call created it and False when an object of that name was there already (which is
        then untouched). When it returns, the object survives a power cut (local: file and directory are synced).
        Killed at any point: either the whole object is there or nothing under that name.
        Raises ``store-full``, ``store-denied``, ``store-unreachable``.
        """
        ...

    def get(self, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
        """Return the object's bytes, or ``length`` of them from ``offset`` (fewer only at the end of the object).

        Raises ``object-missing``, ``store-denied``, ``store-unreachable``.
        """
        ...

    def size(self, name: str) -> int | None:
        """Return the object's size, or None when there is no such object."""
        ...

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Yield every object whose name starts with ``prefix``, sorted by name.

        A prefix is a whole folder: it ends in ``/`` or is empty.

        Temporary files of a backend never appear. An object put before the call began is always listed.
        """
        ...

    def delete(self, name: str) -> bool:
        """Remove an object; True when it was there. Only collection and tests call this."""
        ...

    def close(self) -> None:
        """Let go of connections. Idempotent."""
        ...
