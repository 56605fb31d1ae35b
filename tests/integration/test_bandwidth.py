"""A vault's bandwidth plan: kept, shown, handed out with every unit, and heard of by those that run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, text

from orchestrator.store.schema import upgrade
from orchestrator.use_cases.limit_vault import limit_vault
from orchestrator.use_cases.renew import renew
from orchestrator.use_cases.request_restore import request_restore
from shared.contracts.work import Granted, Heartbeat, Renew, RestoreInstruction
from shared.model.backup import ConflictRule
from shared.model.bandwidth import UNLIMITED, BandwidthPlan, BandwidthWindow, Day
from tests.integration.test_api_operators import add_everything, application_of, ok
from tests.support.control import ControlPlane
from tests.support.postgres import database_url, postgres_server  # noqa: F401
from tests.unit.api.served import clients

OFFICE = BandwidthWindow(days=(Day.MON, Day.FRI), start="08:00", end="18:00", zone="Europe/Berlin", upload=1 << 20)
PLAN = BandwidthPlan(upload=20 << 20, windows=(OFFICE,))
WIRE = {
    "upload": 20 << 20,
    "download": 0,
    "windows": [
        {"days": ["mon", "fri"], "start": "08:00", "end": "18:00", "zone": "Europe/Berlin", "upload": 1 << 20,
         "download": None}
    ],
}  # fmt: skip


@pytest.fixture
def plane(database_url: str) -> Iterator[ControlPlane]:  # noqa: F811
    control = ControlPlane(database_url)
    yield control
    control.close()


@pytest.fixture
def api(plane: ControlPlane) -> Iterator[httpx.Client]:
    with clients(application_of(plane)) as (operator, _):
        operator.base_url = f"{operator.base_url}/api/v1"
        yield operator


def limit(plane: ControlPlane, plan: BandwidthPlan) -> BandwidthPlan:
    with plane.uow() as uow:
        return limit_vault(uow, actor="test", ref="v1", plan=plan).bandwidth


def renewed(plane: ControlPlane, granted: Granted) -> dict[str, BandwidthPlan]:
    with plane.uow() as uow:
        message = Renew(worker="w1", session="s1", units=(Heartbeat(fence=granted.fence),))
        return renew(uow, message=message).bandwidth


def test_a_backup_is_handed_out_with_the_plan_and_hears_of_a_change_with_its_next_renewal(plane: ControlPlane) -> None:
    plane.one_item()
    limit(plane, PLAN)
    granted = plane.start()
    vault = granted.instruction.vault  # type: ignore[union-attr]
    before = renewed(plane, granted)
    limit(plane, UNLIMITED)
    assert (vault.bandwidth, before, renewed(plane, granted)) == (PLAN, {vault.id: PLAN}, {vault.id: UNLIMITED})


def test_a_restore_is_handed_out_with_the_plan_of_the_points_vault(plane: ControlPlane) -> None:
    plane.one_item()
    plane.run()
    limit(plane, PLAN)
    with plane.uow() as uow:
        request_restore(
            uow,
            actor="test",
            point="latest",
            item="i1",
            target="/back",
            paths=[],
            conflict=ConflictRule.SKIP,
            key=None,
        )
    plane.admit()
    granted = plane.claim()
    assert granted is not None
    assert isinstance(granted.instruction, RestoreInstruction)
    assert granted.instruction.point.vault.bandwidth == PLAN


def test_a_unit_that_is_lost_is_told_nothing(plane: ControlPlane) -> None:
    plane.one_item()
    limit(plane, PLAN)
    granted = plane.start()
    plane.complete(granted)
    assert renewed(plane, granted) == {}


def test_lifting_every_limit_leaves_the_vault_as_if_it_had_never_had_one(plane: ControlPlane) -> None:
    plane.vault()
    assert [limit(plane, PLAN), limit(plane, UNLIMITED)] == [PLAN, UNLIMITED]
    assert plane.sql("SELECT bandwidth FROM vault") == [(None,)]


def test_a_change_is_in_the_audit_log_and_the_same_again_is_none(plane: ControlPlane) -> None:
    plane.vault()
    for plan in (PLAN, PLAN, UNLIMITED):
        limit(plane, plan)
    rows = plane.sql("SELECT detail FROM audit_unsealed WHERE action = 'vault.limit' ORDER BY id")
    assert rows == [(WIRE,), ({"upload": 0, "download": 0, "windows": []},)]


def test_the_api_changes_shows_and_lifts_a_plan(api: httpx.Client) -> None:
    add_everything(api)
    assert ok(api.get("/vaults/main"))["bandwidth"] is None
    changed = ok(api.patch("/vaults/main", json={"bandwidth": WIRE}))
    assert (changed["bandwidth"], ok(api.get("/vaults/main")), ok(api.get("/vaults"))["items"]) == (
        WIRE,
        changed,
        [changed],
    )
    assert ok(api.patch("/vaults/main", json={"bandwidth": None}))["bandwidth"] is None


def a_window(**changes: object) -> dict[str, Any]:
    return {"bandwidth": {"windows": [{**WIRE["windows"][0], **changes}]}}  # type: ignore[index]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": "other"},
        {"bandwidth": {"upload": -1}},
        {"bandwidth": {"upload": 1023}},
        {"bandwidth": {"download": 1 << 61}},
        {"bandwidth": {"upload": 1 << 70}},
        {"bandwidth": {"upload": "fast"}},
        {"bandwidth": {"windows": [WIRE["windows"][0]] * 33}},  # type: ignore[index]
        a_window(days=[]),
        a_window(days=["monday"]),
        a_window(start="8:00"),
        a_window(end="24:00"),
        a_window(zone="Mars/Olympus"),
        a_window(zone="../../etc/passwd"),
        a_window(upload=None),
        a_window(download=5),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused_and_changes_nothing(api: httpx.Client, body: dict[str, Any]) -> None:
    add_everything(api)
    ok(api.patch("/vaults/main", json={"bandwidth": WIRE}))
    assert ok(api.patch("/vaults/main", json=body), 422)["code"] == "bad-request"
    assert ok(api.get("/vaults/main"))["bandwidth"] == WIRE


def test_limiting_what_is_not_there_is_404(api: httpx.Client) -> None:
    assert ok(api.patch("/vaults/none", json={"bandwidth": None}), 404)["code"] == "not-found"


def test_a_vault_of_the_first_schema_is_unlimited_after_the_upgrade(database_url: str) -> None:  # noqa: F811
    engine = create_engine(database_url)
    config = Config()
    config.set_main_option("script_location", "orchestrator.store:migrations")
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.execute(text("INSERT INTO vault VALUES ('a', 'v1', 'memory://v1', now())"))
        connection.execute(text("INSERT INTO slot_scope (scope, key, capacity) VALUES ('vault', 'a', 4)"))
        connection.commit()
    engine.dispose()
    upgrade(database_url)
    plane = ControlPlane(database_url)
    with plane.uow() as uow:
        assert uow.vaults.get("v1").bandwidth == UNLIMITED
    plane.close()
