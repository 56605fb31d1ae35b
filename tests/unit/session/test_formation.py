"""A lead insists on what it asks of the tower for as long as it may fly, and a leg ends with either of its units."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest

from shared.contracts.sources import FilesSource
from shared.contracts.work import (
    BackupInstruction,
    Claim,
    Fence,
    Granted,
    Outcome,
    Renewed,
    ShardDone,
    ShardInstruction,
    Shards,
)
from shared.errors import SkyharborError
from shared.model.backup import BackupType
from tests.support.clock import FakeClock
from tests.unit.session.test_lease_keeper import granted
from workers.engine.ports import Stop, StopReason
from workers.session.formation import TowerFormation
from workers.session.lease_keeper import LeaseKeeper, Tenure


def shard(unit: int) -> Granted:
    whole = granted()
    point = whole.instruction.point  # type: ignore[union-attr]
    backup = BackupInstruction(
        point_id="p",
        machine=point.machine,
        item=point.item,
        vault=point.vault,
        source=FilesSource(paths=("/",)),
        type=BackupType.FULL,
    )
    return msgspec.structs.replace(
        whole,
        fence=msgspec.structs.replace(whole.fence, unit=unit, claim_id=f"c{unit}"),
        instruction=ShardInstruction(backup=backup, payload=b"order %d" % unit),
    )


class Tower:
    """Is away for the first so many calls, then answers; remembers what it was told."""

    def __init__(self, *, away: int = 0, shards: Sequence[Granted] = ()) -> None:
        self.away = away
        self.told: list[object] = []
        self._shards = list(shards)

    def _hear(self, said: object) -> None:
        if self.away:
            self.away -= 1
            raise SkyharborError("server-unreachable", "away")
        self.told.append(said)

    def claim(self, message: Claim) -> Granted | None:
        self._hear(message)
        return self._shards.pop(0) if self._shards else None

    def commit(self, fence: Fence) -> None:
        self._hear(fence)

    def complete(self, fence: Fence, outcome: Outcome) -> None:
        self._hear((fence, outcome))

    def offer(self, fence: Fence, shards: Sequence[bytes]) -> None:
        self._hear((fence, shards))

    def shards(self, fence: Fence, have: Sequence[int]) -> Shards:
        self._hear((fence, have))
        return Shards(total=3, done=len(have), free=1)


class Wing:
    """A lead with its formation, on a clock that only moves when somebody sleeps."""

    def __init__(self, tower: Tower) -> None:
        self.clock = FakeClock()
        self.lead: Tenure = Tenure(
            granted(), clock=self.clock, trusted_until=self.clock.monotonic() + 40, commit=lambda _: None
        )
        self.keeper = LeaseKeeper(lambda _: Renewed(), worker="w", session="s", clock=self.clock, on_drain=lambda: None)
        self.formation = TowerFormation(
            tower, self.keeper, granted(), self.lead, worker="w", session="s", clock=self.clock
        )


def test_every_question_is_repeated_until_the_tower_is_back() -> None:
    tower = Tower(away=3)
    wing = Wing(tower)
    wing.formation.offer([b"a", b"b"])
    tower.away = 3
    assert wing.formation.ask([2]).done == 1
    assert tower.told == [(granted().fence, [b"a", b"b"]), (granted().fence, (2,))]


def test_a_lead_that_is_no_longer_trusted_stops_asking() -> None:
    wing = Wing(Tower(away=10_000))
    with pytest.raises(Stop) as stopped:
        wing.formation.ask([])
    assert stopped.value.reason is StopReason.LOST


def test_a_refusal_is_not_repeated() -> None:
    class Refusing(Tower):
        def _hear(self, said: object) -> None:
            raise SkyharborError("stale-claim", f"somebody else leads: {said}")

    with pytest.raises(SkyharborError) as refused:
        Wing(Refusing()).formation.offer([b"a"])
    assert refused.value.code == "stale-claim"


def test_the_lead_asks_for_its_own_shards_and_reports_them_under_their_own_fence() -> None:
    tower = Tower(shards=[shard(3)])
    formation = Wing(tower).formation
    leg = formation.take()
    assert leg is not None
    assert (leg.unit, leg.payload) == (3, b"order 3")
    formation.finish(leg, b"report")
    formation.drop(leg)
    assert formation.take() is None
    ask = Claim(worker="w", session="s", lead=granted().fence)
    assert tower.told == [ask, (shard(3).fence, ShardDone(result=b"report")), ask]


@pytest.mark.parametrize("reason", [StopReason.CANCELLED, StopReason.DRAIN])
def test_a_leg_ends_when_its_lead_does(reason: StopReason) -> None:
    wing = Wing(Tower(shards=[shard(1)]))
    leg = wing.formation.take()
    assert leg is not None
    leg.control.check()
    wing.lead.stop(reason)
    with pytest.raises(Stop) as stopped:
        leg.control.check()
    assert stopped.value.reason is reason


def test_a_leg_ends_when_its_own_lease_does_although_the_lead_lives() -> None:
    wing = Wing(Tower(shards=[shard(1)]))
    leg = wing.formation.take()
    assert leg is not None
    wing.clock.sleep(41)
    wing.lead.renewed(asked_at=wing.clock.monotonic())
    with pytest.raises(Stop):
        leg.control.check()
    wing.lead.check()
