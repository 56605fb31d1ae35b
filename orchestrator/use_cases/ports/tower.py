"""The tower's own memory: the audit log, request keys, worker processes, leadership.

Rule of the file: what would be here even if nothing were protected.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from orchestrator.domain.inventory import (
    AuditEntry,
    AuditLine,
)
from orchestrator.domain.system import Leadership, Worker
from shared.contracts.work import Hello


class Audit(Protocol):
    """The audit log. A line is told in the transaction that it tells of, and sealed into the chain by a later one."""

    def append_all(self, lines: Sequence[AuditLine]) -> None:
        """Append lines, in order, of one moment."""
        ...

    def append(self, *, actor: str, action: str, target: str, detail: Mapping[str, object]) -> None:
        """Tell one line. Nobody waits for anybody."""
        ...

    def seal(self, *, limit: int) -> int:
        """Chain up to so many lines that were told and committed, in order; returns how many.

        Waits for another sealer's commit, so after it nothing that was committed before the call is unsealed, but for
        what is beyond the limit.
        """
        ...

    def unsealed(self) -> int:
        """Return how many lines are told and not sealed yet."""
        ...

    def after(self, seq: int, *, limit: int) -> Sequence[AuditEntry]:
        """Return sealed entries with a greater number, in order."""
        ...


class IdempotencyKeys(Protocol):
    """Which request an Idempotency-Key has made."""

    def take(self, key: str, *, request_hash: str, job_id: str) -> tuple[str, str]:
        """Keep (request hash, job id) for a new key; return what the key stands for now.

        Ours, or that of an earlier request.
        """
        ...

    def sweep(self, *, days: int) -> int:
        """Delete keys older than so many days; returns how many."""
        ...


class Workers(Protocol):
    """The worker processes."""

    def introduce(self, hello: Hello) -> None:
        """Keep the process; from now on other sessions of the same name are over."""
        ...

    def seen(self, worker: str, session: str) -> bool:
        """Note a sign of life; False when a newer session has taken the name. An unknown worker is noted."""
        ...

    def all(self) -> Sequence[Worker]:
        """Return every worker ever seen, by name."""
        ...


class Leaders(Protocol):
    """Who leads the tower."""

    def acquire(self, holder: str, *, ttl: float) -> Leadership | None:
        """Begin a new term when nobody leads."""
        ...

    def renew(self, leadership: Leadership, *, ttl: float) -> bool:
        """Prolong the term; False when it is over."""
        ...

    def resign(self, leadership: Leadership) -> None:
        """End the term now. Idempotent."""
        ...

    def require(self, leadership: Leadership) -> None:
        """Raise ``conflict`` unless this term is the current one."""
        ...
