"""Slots: the scarce things that jobs take a share of, by scope and key, and how much of each is left.

A job touches the whole installation, its class, its tenant, location and hypervisor, its machine and its vault, and the
line of its location; one that collects touches the installation, its class and its vault alone. Of each scope that
exists it takes slots, all or none. Those of the installation, of machines and of vaults always exist; the others are
limits that an operator sets.

Rule of the file: values and arithmetic; who starts first is ``admission``'s.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from shared.errors import SkyharborError
from shared.model.backup import JobKind

ScopeKey = tuple[str, str]


class Scope(StrEnum):
    """A kind of scarce thing. The key names which one."""

    GLOBAL = "global"  # ""
    CLASS = "class"  # a kind of job
    TENANT = "tenant"
    LOCATION = "location"
    HYPERVISOR = "hypervisor"
    MACHINE = "machine"  # its id
    VAULT = "vault"  # its id
    BANDWIDTH = "bandwidth"  # a location, in MiB/s


OWNED = frozenset({Scope.GLOBAL, Scope.MACHINE, Scope.VAULT})
"""Scopes that come and go with what they are of; the others are an operator's to make and remove."""

GLOBAL: ScopeKey = (Scope.GLOBAL, "")

GLOBAL_CAPACITY = 16
"""Enough for a small site's workers; each running job costs the tower one lease row and one renewal per 15 s."""

GLOBAL_RESTORE_FLOOR = 2
"""Two restores can always start, however many backups run."""

MACHINE_CAPACITY = 2
"""A protected machine has other things to do: one backup and one restore or verify beside it."""

VAULT_CAPACITY = 8
"""Parallel streams that a disk array or a bucket takes before latency grows faster than throughput."""

VAULT_RESTORE_FLOOR = 1
"""One restore can always read from a vault that is being written by everybody."""

MOST_CAPACITY = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where a job takes place. Empty texts are nowhere: no scope of that kind is touched.

    A job that collects is nobody's: it takes nothing of its tenant's share.
    """

    kind: JobKind
    tenant: str
    location: str
    hypervisor: str
    machine_id: str
    vault_id: str
    mib_per_second: int = 1
    _needs: tuple[tuple[ScopeKey, int], ...] = field(init=False, repr=False, compare=False)
    scopes: frozenset[ScopeKey] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_needs", self._touched())
        object.__setattr__(self, "scopes", frozenset(scope for scope, _ in self._needs))

    def needs(self) -> tuple[tuple[ScopeKey, int], ...]:
        """Return the scopes that the job may touch and how many slots of each it takes, in locking order."""
        return self._needs

    def _touched(self) -> tuple[tuple[ScopeKey, int], ...]:
        """Return them by name: bandwidth, class, global, hypervisor, location, machine, tenant, vault."""
        touched: list[tuple[ScopeKey, int]] = []
        if self.location:
            touched.append(((Scope.BANDWIDTH, self.location), self.mib_per_second))
        touched += [((Scope.CLASS, self.kind), 1), (GLOBAL, 1)]
        if self.hypervisor:
            touched.append(((Scope.HYPERVISOR, self.hypervisor), 1))
        if self.location:
            touched.append(((Scope.LOCATION, self.location), 1))
        if self.kind is not JobKind.COLLECT:  # which is of a vault alone
            touched += [((Scope.MACHINE, self.machine_id), 1), ((Scope.TENANT, self.tenant), 1)]
        touched.append(((Scope.VAULT, self.vault_id), 1))
        return tuple(touched)


@dataclass(frozen=True, slots=True)
class Room:
    """What a scope has left: ``free`` for restores, ``common`` for everything else; ``capacity`` in all.

    A paused scope has none of it.
    """

    free: int
    common: int
    capacity: int

    def for_kind(self, kind: JobKind) -> int:
        """Return what is left for jobs of a kind."""
        return self.free if kind is JobKind.RESTORE else self.common


def room_of(*, capacity: int, in_use: int, floor: int, paused: bool) -> Room:
    """Return what a scope has left: nothing while it is paused, and its floor is for restores only."""
    if paused:
        return Room(0, 0, 0)
    return Room(max(0, capacity - in_use), max(0, capacity - in_use - floor), capacity)


def parse_scope(text: str) -> tuple[Scope, str]:
    """Read a scope as people write it: ``global``, ``tenant/acme``, ``machine/web1``. ``bad-request`` says how."""
    name, _, key = text.partition("/")
    if name not in list(Scope) or (name == Scope.GLOBAL) != (not key):
        names = ", ".join(str(scope) for scope in Scope if scope is not Scope.GLOBAL)
        raise SkyharborError("bad-request", f"{text!r} is no scope: write global, or KIND/NAME with one of {names}")
    if name == Scope.CLASS and key not in list(JobKind):
        raise SkyharborError("bad-request", f"there are no jobs of the class {key!r}: {', '.join(JobKind)}")
    return Scope(name), key
