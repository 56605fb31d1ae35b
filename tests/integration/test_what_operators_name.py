"""What an operator names wrongly, or half, or has named before: the API says what to write. On a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from orchestrator.use_cases import request_backup
from shared.contracts.work import Failed, Granted
from shared.errors import REGISTRY
from shared.model.ids import new_id
from tests.integration.test_api_operators import application_of, ok
from tests.support.control import ControlPlane, sealed
from tests.support.postgres import database_url, postgres_server  # noqa: F401
from tests.unit.api.served import clients

COMMON = {"machine": "m1", "vault": "v1"}


@pytest.fixture
def plane(database_url: str) -> Iterator[ControlPlane]:  # noqa: F811
    control = ControlPlane(database_url)
    control.one_item()
    yield control
    control.close()


@pytest.fixture
def api(plane: ControlPlane) -> Iterator[httpx.Client]:
    with clients(application_of(plane)) as (operator, _):
        operator.base_url = f"{operator.base_url}/api/v1"
        yield operator


def make_point(plane: ControlPlane, item: str = "i1") -> str:
    """Have an item backed up and return its point's id."""
    granted: Granted = plane.start(item)
    plane.commit(granted)
    done = sealed(granted)
    plane.complete(granted, done)
    return done.point.point_id


def refusal(reply: httpx.Response, status: int = 404) -> tuple[str, str]:
    """What is said, and what to do."""
    document = ok(reply, status)
    return document["detail"], document["hint"]


@pytest.mark.parametrize(("noun", "called"), [("points", "recovery point"), ("jobs", "job")])
def test_an_id_that_is_cut_too_short_is_said_to_be(
    api: httpx.Client, plane: ControlPlane, noun: str, called: str
) -> None:
    make_point(plane)
    detail, _ = refusal(api.get(f"/{noun}/0194ab"))
    assert detail == f"'0194ab' is too short for the beginning of a {called}'s id: give 8 characters or more"
    detail, hint = refusal(api.get(f"/{noun}/0194abcd"))
    assert detail == f"there is no {called} '0194abcd'"
    assert f"skyharbor {noun.removesuffix('s')} list" in hint


def test_an_id_that_several_begin_with_names_some_of_them(
    api: httpx.Client, plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [f"0194abcd-0000-7000-8000-00000000000{n}" for n in range(7)]
    for number, job in enumerate(ids):
        plane.item(f"also{number}")
        # A job takes two ids: its own, and its point's.
        made = iter((job, new_id()))
        monkeypatch.setattr(request_backup, "new_id", lambda made=made: next(made))
        plane.backup(f"also{number}")
    assert refusal(api.get("/jobs/0194abcd"), 409) == (
        f"several jobs begin with 0194abcd: {', '.join(ids[:5])}, …",
        "Give as much of the id as makes it one of them.",
    )
    assert refusal(api.get("/jobs/0194abcd-0000-7000-8000-00000000000"), 409)[0].count("0194abcd") == 6
    assert ok(api.get(f"/jobs/{ids[3]}"))["item"] == "also3"


def test_an_item_where_a_point_is_named_and_the_other_way_round_are_told_apart(
    api: httpx.Client, plane: ControlPlane
) -> None:
    point = make_point(plane)
    assert refusal(api.get("/points/i1")) == (
        "there is no recovery point 'i1': that is an item",
        "Write 'latest --item i1'; all of its points: skyharbor point list i1",
    )
    detail, hint = refusal(api.get("/points", params={"item": point[:18]}))
    assert detail == f"there is no item '{point[:18]}': that is a recovery point of i1"
    assert f"skyharbor point ls {point[:18]}" in hint
    plane.item("i2")
    detail, hint = refusal(api.get(f"/points/{point}", params={"item": "i2"}))
    assert (detail, hint) == (
        f"i2 has no recovery point {point}; it is of i1",
        "Its own: skyharbor point list i2",
    )


def test_what_is_not_there_says_where_those_are_listed_that_are(api: httpx.Client) -> None:
    for noun, path in (("vault", "vaults/x"), ("machine", "machines/x"), ("item", "items/x"), ("policy", "policies/x")):
        assert refusal(api.get(f"/{path}")) == (
            f"there is no {noun} 'x'",
            f"Those that there are: skyharbor {noun} list",
        )


def test_points_of_a_removed_item_are_found_beside_those_of_a_new_one_of_its_name(
    api: httpx.Client, plane: ControlPlane
) -> None:
    point, item = make_point(plane), ok(api.get("/items/i1"))["id"]
    assert ok(api.get("/items", params={"removed": "true"}))["items"] == []
    assert api.delete("/items/i1").status_code == 204
    plane.item("i1")
    plane.item("never-backed-up")
    assert api.delete("/items/never-backed-up").status_code == 204
    assert ok(api.get("/points", params={"item": "i1"}))["items"] == []
    for query in ({"removed": "true"}, {"removed": "true", "name": "i1"}):
        (removed,) = ok(api.get("/items", params=query))["items"]
        assert (removed["id"], removed["name"], removed["removed_at"] is not None) == (item, "i1", True)
    assert ok(api.get("/items", params={"removed": "true", "name": "i2"}))["items"] == []
    assert ok(api.get(f"/items/{item}"))["removed_at"] == removed["removed_at"]
    assert ok(api.get("/items/i1"))["removed_at"] is None
    assert [one["id"] for one in ok(api.get("/points", params={"item": item}))["items"]] == [point]
    assert ok(api.get("/points/latest", params={"item": item}))["id"] == point
    assert refusal(api.get("/points/latest", params={"item": "i1"})) == (
        "i1 has no recovery point",
        "A removed item of this name has some: skyharbor point list i1 --removed",
    )


def test_removed_items_are_paged_and_gone_when_their_last_point_is(api: httpx.Client, plane: ControlPlane) -> None:
    ids = []
    for _ in range(3):
        ids.append(ok(api.get("/items/i1"))["id"])
        make_point(plane)
        api.delete("/items/i1").raise_for_status()
        plane.item("i1")
    plane.sql(
        "UPDATE recovery_point SET state = 'expired', expiring_at = now(), expiring_generation = 1, expiry_reason = '',"
        " doomed_at = now(), expired_at = now() WHERE item_id = :id",
        id=ids.pop(1),
    )
    first = ok(api.get("/items", params={"removed": "true", "limit": 1}))
    rest = ok(api.get("/items", params={"removed": "true", "limit": 1, "cursor": first["next"]}))
    assert [one["id"] for one in first["items"] + rest["items"]] == ids
    assert rest["next"] is None


def test_items_at_risk_are_those_without_a_point_and_those_whose_last_backup_failed(
    api: httpx.Client, plane: ControlPlane
) -> None:
    for name in ("failed-after-a-point", "failed-at-once", "never", "cancelled-after-a-point"):
        plane.item(name)
    make_point(plane)
    for name in ("failed-after-a-point", "cancelled-after-a-point"):
        make_point(plane, name)
    cancelled = plane.backup("cancelled-after-a-point").id
    ok(api.post(f"/jobs/{cancelled}/cancel"))
    for name in ("failed-after-a-point", "failed-at-once"):
        plane.complete(plane.start(name), Failed(code="store-denied", message="no"))
    found = {one["name"]: one for one in ok(api.get("/at-risk"))["items"]}
    assert list(found) == ["failed-after-a-point", "failed-at-once", "never"]
    assert [one["failed"] for one in found.values()] == [{"code": "store-denied", "message": "no"}] * 2 + [None]
    assert [one["last_point_at"] is not None for one in found.values()] == [True, False, False]
    assert [one["job"] is not None for one in found.values()] == [True, True, False]
    first = ok(api.get("/at-risk", params={"limit": 2}))
    rest = ok(api.get("/at-risk", params={"limit": 2, "cursor": first["next"]}))
    assert [one["name"] for one in first["items"] + rest["items"]] == list(found)


def test_what_a_worker_knows_to_do_is_the_hint_of_its_job_and_an_error_is_of_its_attempt(
    api: httpx.Client, plane: ControlPlane
) -> None:
    granted = plane.start()
    plane.complete(granted, Failed(code="source-failed", message="it is away", hint="Bring it back."))
    job = ok(api.get(f"/jobs/{granted.fence.job_id}"))
    error = {"attempt": 1, "code": "source-failed", "title": "The source could not be read"}
    assert job["error"] == {**error, "message": "it is away", "hint": "Bring it back."}
    plane.sql("UPDATE job SET due_at = clock_timestamp() - interval '1 second'")
    plane.admit()
    again = plane.claim()
    assert again is not None
    job = ok(api.get(f"/jobs/{granted.fence.job_id}"))
    assert (job["state"], job["attempt"], job["error"]["attempt"]) == ("running", 2, 1)
    plane.complete(again, Failed(code="store-full", message="full"))
    job = ok(api.get(f"/jobs/{granted.fence.job_id}"))
    assert (job["state"], job["attempt"], job["error"]["attempt"]) == ("discarded", 2, 2)
    assert job["error"]["hint"] == REGISTRY["store-full"].hint


def test_an_item_with_nothing_that_could_work_is_refused_when_it_is_changed_too(api: httpx.Client) -> None:
    share: dict[str, Any] = {"url": "smb://host/share", "credentials_file": "/c"}
    ok(api.post("/items", json={**COMMON, "name": "s", "workload": "smb", "source": share}), 201)
    for worse in ({**share, "credentials_file": ""}, {**share, "url": ""}, {**share, "credentials_file": "c"}):
        body = {"source": {"workload": "smb", **worse}}
        assert ok(api.patch("/items/s", json=body), 422)["code"] == "bad-request"
    assert ok(api.get("/items/s"))["source"]["credentials_file"] == "/c"
