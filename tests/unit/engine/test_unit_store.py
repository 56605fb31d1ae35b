"""The store that a unit works with waits, stops, counts, and is closed afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from shared.contracts.work import VaultRef
from shared.errors import SkyharborError
from shared.model.bandwidth import BandwidthPlan
from shared.model.ids import new_id
from shared.storage.local import LocalStore
from shared.storage.object_store import never_stop
from tests.support.clock import FakeClock
from workers.engine.ports import Stop, StopReason
from workers.engine.unit_store import unit_store
from workers.session.throttles import Throttles

MIB = 1024 * 1024


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def throttles(tmp_path: Path, clock: FakeClock) -> Throttles:
    return Throttles(str(tmp_path / "state" / "bandwidth"), clock=clock, now=clock.monotonic)


@pytest.fixture
def vault(tmp_path: Path) -> VaultRef:
    LocalStore.create(str(tmp_path / "vault")).close()
    plan = BandwidthPlan(upload=10 * MIB, download=5 * MIB)
    return VaultRef(id=new_id(), name="v", url=f"file://{tmp_path}/vault", bandwidth=plan)


def test_a_unit_moves_bytes_at_the_rates_that_came_with_its_vault(
    vault: VaultRef, throttles: Throttles, clock: FakeClock
) -> None:
    began = clock.monotonic()
    with unit_store(vault.url, throttle=throttles.of(vault), check=never_stop) as store:
        store.put("a", [bytes(MIB)] * 100)
        uploaded = clock.monotonic()
        for at in range(0, 100 * MIB, MIB):
            store.get("a", offset=at, length=MIB)
    assert [uploaded - began, clock.monotonic() - uploaded] == [
        pytest.approx(10, abs=0.5),
        pytest.approx(20, abs=0.5),
    ]


def test_a_unit_that_is_told_to_stop_does_not_wait_for_its_share(
    vault: VaultRef, throttles: Throttles, clock: FakeClock
) -> None:
    def cancelled() -> None:
        if clock.monotonic() >= 1001:
            raise Stop(StopReason.CANCELLED)

    with (
        pytest.raises(Stop),
        unit_store(vault.url, throttle=throttles.of(vault), check=cancelled) as store,
    ):
        store.put("a", [bytes(MIB)] * 100)
    assert (clock.monotonic() < 1002, store.size("a")) == (True, None)


def test_what_a_unit_used_is_logged_however_it_ends(vault: VaultRef, throttles: Throttles) -> None:
    def use() -> None:
        with unit_store(vault.url, throttle=throttles.of(vault), check=never_stop) as store:
            store.put("a", [b"0123456789"])
            store.get("missing")

    with capture_logs() as logs, pytest.raises(SkyharborError):
        use()
    [line] = logs
    seconds = [line[verb].pop("seconds") for verb in ("put", "get")]
    assert line == {
        "event": "store-used",
        "log_level": "info",
        "store": vault.url,
        "put": {"calls": 1, "bytes": 10, "errors": 0},
        "get": {"calls": 1, "bytes": 0, "errors": 1},
    }
    assert min(seconds) >= 0.0


def test_who_only_restores_cannot_change_the_vault(vault: VaultRef, throttles: Throttles) -> None:
    with (
        pytest.raises(SkyharborError) as caught,
        unit_store(vault.url, throttle=throttles.of(vault), check=never_stop, read_only=True) as store,
    ):
        store.put("a", [b"x"])
    assert caught.value.code == "store-read-only"
