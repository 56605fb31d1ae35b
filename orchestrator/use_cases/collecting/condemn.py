"""Give packs up that no manifest needs, and take others back.

Rule of the file: the packs and the vault's next generation are one transaction, under a lock that every claim of a
backup shares: whoever is just registering is older than the condemnation, or knows it.
"""

from __future__ import annotations

from orchestrator.domain.collecting import Amount
from orchestrator.use_cases.collecting.fenced import check_length, lock_collector
from orchestrator.use_cases.ports import UnitOfWork
from shared.contracts.collect import Condemn
from shared.errors import SkyharborError

_NOTHING = Amount(0, 0)


def condemn(uow: UnitOfWork, *, message: Condemn) -> None:
    """Condemn and revive. What is condemned already keeps its generation; what is not condemned is not revived.

    Errors: ``stale-claim``; ``conflict`` for reviving what is doomed, and nothing of the message is done then;
    ``bad-request`` for a message that is too long or wants both of one pack.
    """
    check_length(message.packs, message.revive)
    if {pack.name for pack in message.packs} & set(message.revive):
        raise SkyharborError("bad-request", "a pack is either condemned or taken back")
    if any(pack.size < 0 for pack in message.packs):
        raise SkyharborError("bad-request", "a pack has no size below 0")
    job = lock_collector(uow, message.fence)
    revived = uow.collecting.revive(job.vault_id, message.revive) if message.revive else _NOTHING
    packs = [(pack.name, pack.size) for pack in message.packs]
    given_up = uow.collecting.condemn(job.vault_id, packs) if packs else _NOTHING
    for action, amount in (("packs.revive", revived), ("packs.condemn", given_up)):
        if amount.packs:
            detail = {"vault": job.vault_id, "packs": amount.packs, "bytes": amount.bytes}
            uow.audit.append(actor=f"worker:{job.worker}", action=action, target=job.id, detail=detail)
    uow.commit()
