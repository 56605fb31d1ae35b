"""The ports: what the use cases need of a database, a broker and a vault.

Rule of the package: Protocols only, owned by their callers here. Nothing of SQL, Celery or HTTP shows.
"""

from orchestrator.use_cases.ports.catalog import Items, Machines, Points, Policies, Vaults
from orchestrator.use_cases.ports.collecting import Collecting, Retention
from orchestrator.use_cases.ports.outside import Bell, Channel, DeadMan, VaultPort, Wakeups
from orchestrator.use_cases.ports.oversight import Alarms, Messages, Objectives, Sights
from orchestrator.use_cases.ports.tower import Audit, IdempotencyKeys, Leaders, Workers
from orchestrator.use_cases.ports.unit_of_work import UnitOfWork
from orchestrator.use_cases.ports.work import Admission, Jobs, Ledger, Outbox, Shards, Slots, Tenants, Units

__all__ = [
    "Admission",
    "Alarms",
    "Audit",
    "Bell",
    "Channel",
    "Collecting",
    "DeadMan",
    "IdempotencyKeys",
    "Items",
    "Jobs",
    "Leaders",
    "Ledger",
    "Machines",
    "Messages",
    "Objectives",
    "Outbox",
    "Points",
    "Policies",
    "Retention",
    "Shards",
    "Sights",
    "Slots",
    "Tenants",
    "UnitOfWork",
    "Units",
    "VaultPort",
    "Vaults",
    "Wakeups",
    "Workers",
]
