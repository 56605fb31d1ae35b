"""Ring the doorbells that were decided.

Rule of the file: no transaction is open while the broker is spoken to. At least once: a relay killed between
ringing and
marking rings again after 30 s, and a doorbell too many claims nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from orchestrator.use_cases.ports import Bell, UnitOfWork
from shared.errors import SkyharborError

BATCH = 200


@dataclass(frozen=True, slots=True)
class Relayed:
    """How many doorbells were rung, and the broker's error when it stopped the batch."""

    rung: int
    error: SkyharborError | None = None


def relay(unit_of_work: Callable[[], UnitOfWork], *, bell: Bell) -> Relayed:
    """Ring up to 200 doorbells, oldest first. The first failure gives the rest back and is returned, not raised."""
    with unit_of_work() as uow:
        uow.relax()  # what a power cut takes back is rung once more
        taken = uow.outbox.take(limit=BATCH)
        uow.commit()
    rung: list[int] = []
    failure: SkyharborError | None = None
    for number, doorbell in taken:
        try:
            bell.ring(doorbell)
        except SkyharborError as error:
            failure = error
            break
        rung.append(number)
    if taken:
        with unit_of_work() as uow:
            uow.relax()
            uow.outbox.published(rung)
            if len(rung) < len(taken):
                uow.outbox.give_back([number for number, _ in taken if number not in set(rung)])
            uow.commit()
    return Relayed(len(rung), failure)
