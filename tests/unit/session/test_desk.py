"""The desk of a collector insists while the tower is away, and carries every message under the unit's fence."""

from __future__ import annotations

import pytest

from shared.contracts.collect import (
    AskCondemned,
    AskDoomedPoints,
    AskUnsettled,
    Condemn,
    CondemnedPack,
    CondemnedPacks,
    Deleted,
    Doom,
    Doomed,
    DoomedPoints,
    Expired,
    GivenUp,
    Settled,
    UnsettledPoints,
)
from shared.contracts.work import Fence
from shared.errors import SkyharborError
from tests.support.clock import FakeClock
from workers.engine.ports import Stop, StopReason
from workers.session.desk import TowerDesk

FENCE = Fence(job_id="job", unit=0, epoch=3, claim_id="claim")
PAGE = CondemnedPacks(packs=(CondemnedPack("p", 1, True, False),))


class Tower:
    """Answers after so many failures, and remembers what it was told."""

    def __init__(self, failures: int = 0, code: str = "server-unreachable") -> None:
        self.told: list[object] = []
        self._failures = failures
        self._code = code

    def _take(self, message: object) -> None:
        self.told.append(message)
        if self._failures:
            self._failures -= 1
            raise SkyharborError(self._code)

    def condemned(self, message: AskCondemned) -> CondemnedPacks:
        self._take(message)
        return PAGE

    def condemn(self, message: Condemn) -> None:
        self._take(message)

    def doom(self, message: Doom) -> Doomed:
        self._take(message)
        return Doomed(packs=message.packs)

    def deleted(self, message: Deleted) -> None:
        self._take(message)

    def doom_points(self, message: AskDoomedPoints) -> DoomedPoints:
        self._take(message)
        return DoomedPoints(points=())

    def expired(self, message: Expired) -> None:
        self._take(message)

    def unsettled(self, message: AskUnsettled) -> UnsettledPoints:
        self._take(message)
        return UnsettledPoints(points=())

    def settled(self, message: Settled) -> None:
        self._take(message)


class Tenure:
    def __init__(self, checks: int | None = None) -> None:
        self._left = checks

    def check(self) -> None:
        if self._left is not None:
            if not self._left:
                raise Stop(StopReason.LOST)
            self._left -= 1

    def progress(self, progress: object) -> None: ...

    def commit(self) -> None: ...


def desk(tower: Tower, tenure: Tenure | None = None) -> TowerDesk:
    return TowerDesk(tower, FENCE, tenure or Tenure(), clock=FakeClock())


def test_every_message_goes_out_under_the_fence_of_the_unit() -> None:
    tower = Tower()
    mine = desk(tower)
    assert mine.condemned("a") == PAGE
    mine.condemn([GivenUp("p", 7)], ["q"])
    assert mine.doom(["p"]) == ("p",)
    mine.deleted(["p"])
    mine.doomed_points("b")
    mine.expired(["x"])
    mine.unsettled("c")
    mine.settled(fenced=["y"], found=["z"], missing=["w"])
    assert tower.told == [
        AskCondemned(fence=FENCE, after="a"),
        Condemn(fence=FENCE, packs=(GivenUp("p", 7),), revive=("q",)),
        Doom(fence=FENCE, packs=("p",)),
        Deleted(fence=FENCE, packs=("p",)),
        AskDoomedPoints(fence=FENCE, after="b"),
        Expired(fence=FENCE, points=("x",)),
        AskUnsettled(fence=FENCE, after="c"),
        Settled(fence=FENCE, fenced=("y",), found=("z",), missing=("w",)),
    ]


def test_a_tower_that_is_away_is_asked_again() -> None:
    tower = Tower(failures=3)
    assert desk(tower).doom(["p"]) == ("p",)
    assert tower.told == [Doom(fence=FENCE, packs=("p",))] * 4


@pytest.mark.parametrize("code", ["stale-claim", "conflict", "bad-request"])
def test_a_refusal_is_final(code: str) -> None:
    tower = Tower(failures=1, code=code)
    with pytest.raises(SkyharborError) as caught:
        desk(tower).deleted(["p"])
    assert (caught.value.code, len(tower.told)) == (code, 1)


def test_nobody_insists_longer_than_the_unit_may_go_on() -> None:
    tower = Tower(failures=99)
    with pytest.raises(Stop):
        desk(tower, Tenure(checks=2)).condemned("")
    assert len(tower.told) == 2
