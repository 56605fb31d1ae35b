"""One throttle per vault, under the newest plan that the tower has told."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from shared.clock import SystemClock
from shared.contracts.work import Renew, Renewed, VaultRef
from shared.errors import SkyharborError
from shared.model.bandwidth import UNLIMITED, BandwidthPlan
from tests.support.clock import FakeClock
from tests.unit.session.test_lease_keeper import granted
from workers.session.lease_keeper import LeaseKeeper
from workers.session.throttles import Throttles

SLOW = BandwidthPlan(upload=1 << 20)
FAST = BandwidthPlan(upload=1 << 30)


@pytest.fixture
def throttles(tmp_path: Path) -> Throttles:
    return Throttles(str(tmp_path / "bandwidth"), clock=SystemClock())


def ref(vault_id: str, plan: BandwidthPlan) -> VaultRef:
    return VaultRef(id=vault_id, name="v", url="memory://v", bandwidth=plan)


def test_units_of_one_vault_share_one_throttle_under_the_newest_plan(throttles: Throttles) -> None:
    first, other, second = throttles.of(ref("a", SLOW)), throttles.of(ref("b", SLOW)), throttles.of(ref("a", FAST))
    assert (first is second, first is other, first.plan, other.plan) == (True, False, FAST, SLOW)


def test_a_renewal_changes_the_plans_it_names_and_no_others(throttles: Throttles) -> None:
    one, other = throttles.of(ref("a", SLOW)), throttles.of(ref("b", SLOW))
    throttles.learn({"a": UNLIMITED, "never-met": FAST})
    assert (one.plan, other.plan) == (UNLIMITED, SLOW)


@pytest.mark.parametrize("vault_id", ["", "../up", "a/b", "nul\0", "x" * 65])
def test_an_id_that_could_leave_the_folder_is_refused(throttles: Throttles, vault_id: str) -> None:
    with pytest.raises(SkyharborError) as caught:
        throttles.of(ref(vault_id, SLOW))
    assert caught.value.code == "bad-request"


def test_a_plan_in_a_renewal_reply_reaches_the_throttle_of_a_running_unit(throttles: Throttles) -> None:
    throttle, learned = throttles.of(ref("a", SLOW)), threading.Event()

    def learn(plans: dict[str, BandwidthPlan]) -> None:
        throttles.learn(plans)
        learned.set()

    def renew(_: Renew) -> Renewed:
        return Renewed(bandwidth={"a": FAST})

    clock = FakeClock()
    keeper = LeaseKeeper(
        renew,
        worker="w",
        session="s",
        clock=clock,
        on_drain=lambda: None,
        on_bandwidth=learn,  # type: ignore[arg-type]
    )
    keeper.hold(granted(), asked_at=clock.monotonic(), commit=lambda _: None)
    clock.advance(15)
    keeper.start(idle_every=15)
    assert learned.wait(10)
    keeper.end()
    assert throttle.plan == FAST
