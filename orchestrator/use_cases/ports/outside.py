"""What stands outside the database: storage for vaults, the broker's bell, wake-ups, and who is told of alarms.

Rule of the file: each may be down for a while; the errors say so and nothing here keeps state.
"""

from __future__ import annotations

from typing import Protocol

from orchestrator.domain.alarm_text import Message
from orchestrator.domain.inventory import (
    StoredVault,
)
from shared.contracts.work import Doorbell


class VaultPort(Protocol):
    """Makes and reads vaults on storage.

    Errors: ``store-*``, ``vault-exists``, ``vault-not-empty``, ``vault-missing``.
    """

    def create(self, url: str, *, name: str) -> StoredVault:
        """Open the store, probe it, write the vault's header. Refuses a place that is not empty."""
        ...

    def describe(self, url: str) -> StoredVault:
        """Read the header of an existing vault."""
        ...


class Bell(Protocol):
    """Wakes workers. Losing or repeating a ring is harmless."""

    def ring(self, doorbell: Doorbell) -> None:
        """Hand one doorbell to the broker; returns once it is there. Raises ``server-unreachable`` within 10 s."""
        ...


class Wakeups(Protocol):
    """Hears that something was committed that the loops care about. A hint only: polling is the guarantee."""

    def wait(self, timeout: float) -> bool:
        """Block up to ``timeout`` seconds; True when something was heard. Reconnects by itself, never raises."""
        ...

    def close(self) -> None:
        """Let go of the connection. Idempotent; a waiting thread returns."""
        ...


class Channel(Protocol):
    """A way to people. Its address is a secret: it shows in no name, result or error."""

    @property
    def name(self) -> str:
        """What the channel is called in logs: its place among the channels and its kind."""
        ...

    def send(self, message: Message) -> bool:
        """Hand a message over; False when that failed. Takes at most half a minute, raises nothing."""
        ...


class DeadMan(Protocol):
    """Somebody outside who speaks up when pings stop coming."""

    def ping(self) -> bool:
        """Give a sign of life; False when it was not taken. Takes at most ten seconds, raises nothing."""
        ...
