"""Retention, holds and collections over HTTP, with real use cases and a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from orchestrator.domain.policy import RetentionSpec
from tests.integration.test_api_operators import application_of, ok
from tests.support.collecting import collector, expire
from tests.support.control import ControlPlane
from tests.support.postgres import database_url, postgres_server  # noqa: F401
from tests.unit.api.served import clients


@pytest.fixture
def plane(database_url: str) -> Iterator[ControlPlane]:  # noqa: F811
    control = ControlPlane(database_url)
    control.machine()
    control.vault()
    control.item(retention=RetentionSpec(last=1))
    yield control
    control.close()


@pytest.fixture
def both(plane: ControlPlane) -> Iterator[tuple[httpx.Client, httpx.Client]]:
    """An operator's client and a worker's."""
    with clients(application_of(plane)) as (operator, worker):
        operator.base_url = f"{operator.base_url}/api/v1"
        worker.base_url = f"{worker.base_url}/work/v1"
        yield operator, worker


@pytest.fixture
def api(both: tuple[httpx.Client, httpx.Client]) -> httpx.Client:
    return both[0]


def test_a_vault_is_collected_once_per_key_and_refused_beside_itself(api: httpx.Client) -> None:
    asked = [api.post("/vaults/v1/collect", json={"now": True}, headers={"Idempotency-Key": "k"}) for _ in range(2)]
    assert [reply.status_code for reply in asked] == [202, 200]
    job = asked[0].json()
    assert (job["kind"], job["item"], job["item_id"], job["vault"], job["point"]) == ("collect", None, None, "v1", None)
    assert asked[1].json()["id"] == job["id"]
    refused = api.post("/vaults/v1/collect")
    assert (refused.status_code, refused.json()["code"], refused.json()["job"]) == (409, "conflict", job["id"])
    assert ok(api.get("/jobs", params={"kind": "collect"}))["items"][0]["id"] == job["id"]
    assert ok(api.post(f"/jobs/{job['id']}/cancel"))["state"] == "cancelled"


def test_a_point_is_held_released_and_explains_itself(api: httpx.Client, plane: ControlPlane) -> None:
    old, new = plane.run().point_id, plane.run().point_id
    shown = ok(api.get(f"/points/{new}"))["retention"]
    assert (shown["keep"], shown["reasons"]) == (True, ["last 1 of 1"])
    held = ok(api.post(f"/points/{old}/hold", json={"until": "2100-01-01T00:00:00Z"}))
    assert held["held_until"] == "2100-01-01T00:00:00Z"
    assert ok(api.get(f"/points/{old}"))["retention"]["reasons"] == ["held until 2100-01-01 00:00Z"]
    assert ok(api.post(f"/points/{old}/hold"))["held_until"] is None
    assert ok(api.post(f"/points/{old}/release"))["held_at"] is None
    assert api.post(f"/points/{old}/hold", json={"until": "2100-01-01T00:00:00"}).status_code == 422
    expire(plane)
    going = ok(api.get(f"/points/{old}"))
    assert (going["state"], going["expiry_reason"], going["retention"]) == ("expiring", "no rule keeps it", None)


def test_a_plan_is_shown_and_applied(api: httpx.Client, plane: ControlPlane) -> None:
    old, new = plane.run().point_id, plane.run().point_id
    planned = ok(api.get("/retention", params={"item": "i1"}))["items"]
    assert [(line["point"], line["keep"]) for line in planned] == [(new, True), (old, False)]
    assert ok(api.post("/retention/apply", json={"item": "i1"})) == {"items": [{"item": "i1", "points": [old]}]}
    assert ok(api.post("/retention/apply", json={"item": "i1"})) == {"items": []}
    for wrong in ({}, {"item": "i1", "policy": "p"}):
        assert api.get("/retention", params=wrong).status_code == 422
        assert api.post("/retention/apply", json=wrong).status_code == 422
    assert api.get("/retention", params={"policy": "nobody"}).status_code == 404


def test_a_collector_speaks_http(both: tuple[httpx.Client, httpx.Client], plane: ControlPlane) -> None:
    api, worker = both
    old = plane.run().point_id
    plane.run()
    expire(plane)
    fence = {
        "job_id": (collect := collector(plane)).fence.job_id,
        "unit": 0,
        "epoch": collect.fence.epoch,
        "claim_id": collect.fence.claim_id,
    }

    def say(verb: str, **body: Any) -> Any:
        return ok(worker.post(f"/{verb}", json={"fence": fence, **body}))

    assert say("unsettled") == {"points": [], "more": False}
    assert [point[2] for point in say("doom-points")["points"]] == [old]
    assert say("expired", points=[old]) == {}
    assert say("condemn", packs=[["packs/d/a", 7], ["packs/d/b", 8]], revive=[]) == {}
    assert say("condemned")["packs"] == [["packs/d/a", 7, True, False], ["packs/d/b", 8, True, False]]
    garbage = ok(api.get("/vaults/v1/garbage"))
    assert (garbage["condemned_packs"], garbage["condemned_bytes"], garbage["expiring_points"]) == (2, 15, 0)
    assert garbage["last_collection"]["job"] == fence["job_id"]
    assert say("doom", packs=["packs/d/a"]) == {"packs": ["packs/d/a"]}
    assert say("deleted", packs=["packs/d/a"]) == {}
    assert say("settled", found=[], missing=["none"], fenced=[]) == {}
    assert ok(api.get("/vaults/v1/garbage"))["condemned_packs"] == 1
    stale = worker.post("/condemned", json={"fence": {**fence, "epoch": 1}})
    assert (stale.status_code, stale.json()["code"]) == (409, "stale-claim")
    assert worker.post("/condemn", json={"packs": []}).status_code == 422
