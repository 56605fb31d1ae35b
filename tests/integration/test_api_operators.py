"""The public API over the real use cases and a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import httpx
import msgspec
import pytest

from orchestrator.store.schema import head
from orchestrator.use_cases.application import Application
from shared.clock import SystemClock
from shared.contracts.sources import SmbSource
from shared.contracts.work import BackupInstruction, Failed, RestoreInstruction
from shared.model.backup import BackupStats, Notice
from shared.model.ids import new_id
from tests.support.control import SLOTS, ControlPlane, sealed
from tests.support.postgres import database_url, postgres_server  # noqa: F401
from tests.unit.api.served import clients

NO_RULES = {"caches": False, "if_present": [], "nodump": False, "larger_than": None, "one_file_system": False}
RULES = {
    "caches": True,
    "if_present": [".nobackup", ".git"],
    "nodump": True,
    "larger_than": 2**40,
    "one_file_system": True,
}
HELD = {
    "hooks": {"before": ["quiesce", "--all"], "after": ["thaw"], "timeout": 300.0},
    "snapshot": "lvm",
    "snapshot_percent": 30,
    "journal": True,
}
NOT_HELD = {
    "hooks": {"before": [], "after": [], "timeout": 60.0},
    "snapshot": "none",
    "snapshot_percent": 0,
    "journal": False,
}
POLICY = "name: nightly\nschedules:\n  - cron: '0 2 * * *'\n    zone: Europe/Berlin\n"


@pytest.fixture
def plane(database_url: str) -> Iterator[ControlPlane]:  # noqa: F811
    control = ControlPlane(database_url)
    yield control
    control.close()


@pytest.fixture
def api(plane: ControlPlane) -> Iterator[httpx.Client]:
    """An operator's client of the API over the control plane."""
    with clients(application_of(plane)) as (operator, _):
        operator.base_url = f"{operator.base_url}/api/v1"
        yield operator


def application_of(plane: ControlPlane, *, schema_head: str | None = None) -> Application:
    clock = SystemClock()
    return Application(
        unit_of_work=plane.uow,
        clock=clock,
        vaults=plane.vaults,
        schema_head=schema_head or head(),
        version="0.1",
        started_at=clock.now(),
    )


def ok(reply: httpx.Response, status: int = 200) -> Any:
    assert reply.status_code == status, reply.text
    return reply.json()


def add_everything(api: httpx.Client, *, policy: str | None = None) -> dict[str, Any]:
    """A machine, a vault and an item, through the API."""
    ok(api.post("/machines", json={"name": "web", "id": new_id(), "key_slots": SLOTS}), 201)
    ok(api.post("/vaults", json={"name": "main", "url": "memory://main"}), 201)
    item = {"name": "etc", "workload": "files", "machine": "web", "vault": "main", "policy": policy}
    added: dict[str, Any] = ok(
        api.post("/items", json={**item, "source": {"paths": ["/etc"], "excludes": ["*.o"]}}), 201
    )
    return added


def test_what_is_added_is_found_by_name_and_by_id(api: httpx.Client) -> None:
    item = add_everything(api)
    for noun, thing in (("items", item), ("machines", item["machine"]), ("vaults", item["vault"])):
        by_name, by_id = (ok(api.get(f"/{noun}/{thing[key]}")) for key in ("name", "id"))
        assert by_name == by_id
        assert [one["id"] for one in ok(api.get(f"/{noun}"))["items"]] == [thing["id"]]


def test_an_item_shows_what_was_asked_for(api: httpx.Client) -> None:
    item = add_everything(api)
    shown = {key: item[key] for key in ("workload", "policy", "source", "paused_at", "last_point", "next_fire_at")}
    assert shown == {
        "workload": "files",
        "policy": None,
        "source": {"paths": ["/etc"], "excludes": ["*.o"], "rules": NO_RULES, **NOT_HELD},
        "paused_at": None,
        "last_point": None,
        "next_fire_at": None,
    }
    assert item["created_at"].endswith("Z")


def test_the_rules_and_hooks_of_an_item_are_kept_and_given_to_the_worker(
    api: httpx.Client, plane: ControlPlane
) -> None:
    plane.machine()
    plane.vault()
    body = {"name": "i1", "workload": "files", "machine": "m1", "vault": "v1"}
    source = {"paths": ["/etc"], "excludes": ["*.o"], "rules": RULES, **HELD}
    ok(api.post("/items", json={**body, "source": source}), 201)
    instruction = plane.start().instruction
    assert isinstance(instruction, BackupInstruction)
    assert ok(api.get("/items/i1"))["source"] == source
    assert msgspec.json.decode(msgspec.json.encode(instruction.source)) == {"workload": "files", **source}


@pytest.mark.parametrize(
    "hooks",
    [{"timeout": 0.5}, {"before": [""]}, {"before": ["a"] * 101}, {"after": ["a", "b\0c"]}, {"timeout": 90000}],
)
def test_a_hook_that_is_none_is_refused(api: httpx.Client, hooks: dict[str, Any]) -> None:
    add_everything(api)
    body = {"name": "other", "workload": "files", "machine": "web", "vault": "main"}
    source = {"paths": ["/etc"], "hooks": hooks}
    assert ok(api.post("/items", json={**body, "source": source}), 422)["code"] == "bad-request"


def test_an_item_of_before_there_were_rules_has_none(api: httpx.Client, plane: ControlPlane) -> None:
    item = add_everything(api)
    plane.sql(
        "UPDATE item SET source = source - 'rules' - 'hooks' - 'snapshot' - 'snapshot_percent' - 'journal'"
        " WHERE id = :id",
        id=item["id"],
    )
    assert ok(api.get("/items/etc")) == item


@pytest.mark.parametrize("name", ["a/b", ".", "..", "x" * 256])
def test_a_tag_that_is_no_file_name_is_refused(api: httpx.Client, name: str) -> None:
    add_everything(api)
    body = {"name": "other", "workload": "files", "machine": "web", "vault": "main"}
    source = {"paths": ["/etc"], "rules": {"if_present": [name]}}
    assert ok(api.post("/items", json={**body, "source": source}), 422)["code"] == "bad-request"


@pytest.mark.parametrize(
    ("noun", "body"),
    [
        ("vaults", {"name": "main", "url": "memory://other"}),
        ("machines", {"name": "web", "id": "01940000-0000-7000-8000-000000000001", "key_slots": [{"kind": "x"}]}),
    ],
)
def test_a_taken_name_is_a_conflict(api: httpx.Client, noun: str, body: dict[str, Any]) -> None:
    add_everything(api)
    assert ok(api.post(f"/{noun}", json=body), 409)["code"] == "already-exists"


@pytest.mark.parametrize(
    "path", ["items/x", "machines/x", "vaults/x", "policies/x", "jobs/0194abcd", "points/0194abcd"]
)
def test_what_is_not_there_is_404(api: httpx.Client, path: str) -> None:
    assert ok(api.get(f"/{path}"), 404)["code"] == "not-found"


def test_lists_go_on_with_their_cursor(api: httpx.Client) -> None:
    for name in ("a", "b", "c"):
        ok(api.post("/machines", json={"name": name, "id": new_id(), "key_slots": SLOTS}), 201)
    first = ok(api.get("/machines?limit=2"))
    rest = ok(api.get("/machines", params={"limit": 2, "cursor": first["next"]}))
    assert [machine["name"] for machine in first["items"] + rest["items"]] == ["a", "b", "c"]
    assert rest["next"] is None


def test_pausing_twice_and_resuming_twice_is_fine(api: httpx.Client) -> None:
    add_everything(api)
    paused = [ok(api.post("/items/etc/pause"))["paused_at"] for _ in range(2)]
    resumed = [ok(api.post("/items/etc/resume"))["paused_at"] for _ in range(2)]
    assert (paused[0] is not None, paused[0] == paused[1], resumed) == (True, True, [None, None])


def test_an_item_is_removed_only_while_no_backup_of_it_is_at_work(api: httpx.Client, plane: ControlPlane) -> None:
    add_everything(api)
    granted = plane.start("etc")
    assert ok(api.delete("/items/etc"), 409)["code"] == "conflict"
    plane.complete(granted, Failed(code="source-failed", message="gone"))
    waiting = ok(api.post("/jobs", json={"kind": "backup", "item": "etc"}), 202)
    assert api.delete("/items/etc").status_code == 204
    assert api.get("/items/etc").status_code == 404
    assert ok(api.get(f"/jobs/{waiting['id']}"))["state"] == "cancelled"


def test_the_same_key_asks_for_the_same_job(api: httpx.Client) -> None:
    add_everything(api)
    headers = {"Idempotency-Key": "k1"}
    first = api.post("/jobs", json={"kind": "backup", "item": "etc"}, headers=headers)
    again = api.post("/jobs", json={"kind": "backup", "item": "etc"}, headers=headers)
    other = api.post("/jobs", json={"kind": "backup", "item": "etc", "type": "full"}, headers=headers)
    assert [first.status_code, again.status_code, other.status_code] == [202, 200, 409]
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert first.json()["id"] == again.json()["id"]
    assert other.json()["code"] == "idempotency-mismatch"
    assert len(ok(api.get("/jobs"))["items"]) == 1


def test_without_a_key_two_requests_are_two_jobs(api: httpx.Client) -> None:
    add_everything(api)
    jobs = {ok(api.post("/jobs", json={"kind": "backup", "item": "etc"}), 202)["id"] for _ in range(2)}
    assert len(jobs) == 2


def test_a_job_has_exactly_the_agreed_fields(api: httpx.Client, plane: ControlPlane) -> None:
    add_everything(api)
    job = ok(api.post("/jobs", json={"kind": "backup", "item": "etc"}), 202)
    agreed = (
        "id kind type item item_id vault vault_id state point attempt epoch created_at started_at finished_at seconds "
        "wait_reason queue_position expected_start_at latest_start start_by finish_by tenant cancel_requested_at "
        "progress error stats warnings policy_version requested_by retry_of target paths conflict options full"
    )
    assert sorted(job) == sorted(agreed.split())
    assert (job["kind"], job["type"], job["item"], job["requested_by"]) == ("backup", "incremental", "etc", "operator")


def test_a_finished_backup_is_shown_whole_and_so_is_its_point(api: httpx.Client, plane: ControlPlane) -> None:
    add_everything(api)
    granted = plane.start("etc")
    plane.commit(granted)
    plane.complete(granted, sealed(granted, warnings=(Notice("/etc/shadow", "unreadable", "Permission denied"),)))
    job = ok(api.get(f"/jobs/{granted.fence.job_id[:13]}"))
    assert (job["state"], job["type"], job["stats"]["files"], job["error"]) == ("completed", "full", 3, None)
    assert job["warnings"] == [{"path": "/etc/shadow", "code": "unreadable", "message": "Permission denied"}]
    assert list(job["stats"]) == list(BackupStats.__struct_fields__)
    assert job["seconds"] >= 0
    point = ok(api.get("/points/latest?item=etc"))
    assert (point["id"], point["job_id"], point["state"]) == (job["point"], job["id"], "sealed")
    assert (point["machine"]["key_slots"], point["vault"]["url"]) == (list(SLOTS), "memory://main")
    assert [listed["id"] for listed in ok(api.get("/points?item=etc"))["items"]] == [point["id"]]
    assert ok(api.get("/items/etc"))["last_point"]["id"] == point["id"]


def test_a_point_that_can_bring_back_any_moment_says_which(api: httpx.Client, plane: ControlPlane) -> None:
    add_everything(api)
    moments = ("2026-11-25T08:00:00Z", "2026-11-25T09:30:00.25Z")
    granted = plane.start("etc")
    plane.commit(granted)
    plane.complete(granted, sealed(granted, moments=moments))
    point = ok(api.get("/points/latest?item=etc"))
    last = ok(api.get("/items/etc"))["last_point"]
    for shown in (point, last):
        assert [datetime.fromisoformat(shown[name]) for name in ("moments_from", "moments_until")] == [
            datetime.fromisoformat(moment) for moment in moments
        ]


def test_what_a_restore_is_asked_for_besides_paths_reaches_the_worker(api: httpx.Client, plane: ControlPlane) -> None:
    add_everything(api)
    share = {"url": "smb://host/share", "credentials_file": "/c", "excludes": ["*.o"]}
    ok(
        api.post("/items", json={"name": "s", "workload": "smb", "machine": "web", "vault": "main", "source": share}),
        201,
    )
    point = plane.run("s").point
    body = {"kind": "restore", "point": point, "target": "smb://host/b", "options": {"credentials_file": "/d"}}
    ok(api.post("/jobs", json=body), 202)
    plane.admit()
    told = plane.claim().instruction
    assert isinstance(told, RestoreInstruction)
    assert (told.target, told.options, told.source) == (
        "smb://host/b",
        {"credentials_file": "/d"},
        SmbSource(url="smb://host/share", credentials_file="/c", excludes=("*.o",)),
    )
    for bad in ({"Until!": "x"}, {"until": "latest"}):
        assert ok(api.post("/jobs", json={**body, "options": bad}), 422)["code"] == "bad-request"


def test_an_item_stays_of_its_workload(api: httpx.Client) -> None:
    add_everything(api)
    refused = ok(api.patch("/items/etc", json={"source": {"workload": "nothing", "paths": ["/x"]}}), 422)
    assert refused["code"] == "bad-request"
    assert ok(api.patch("/items/etc", json={"source": {"paths": ["/x"]}}))["source"]["paths"] == ["/x"]


def test_a_restore_of_the_latest_names_the_point_it_means(api: httpx.Client, plane: ControlPlane) -> None:
    add_everything(api)
    point = plane.run("etc").point
    body = {"kind": "restore", "point": "latest", "item": "etc", "target": "/t", "paths": ["/etc/hosts"]}
    job = ok(api.post("/jobs", json={**body, "conflict": "rename"}), 202)
    shown = [job[key] for key in ("point", "target", "paths", "conflict", "type")]
    assert shown == [point, "/t", ["/etc/hosts"], "rename", None]


def test_latest_of_nothing_is_a_bad_request(api: httpx.Client) -> None:
    assert ok(api.post("/jobs", json={"kind": "verify", "point": "latest"}), 422)["code"] == "bad-request"


def test_a_failed_job_says_why_and_can_be_retried_as_a_new_one(api: httpx.Client, plane: ControlPlane) -> None:
    add_everything(api)
    granted = plane.start("etc")
    plane.complete(granted, Failed(code="key-missing", message="no key of web"))
    job = ok(api.get(f"/jobs/{granted.fence.job_id}"))
    assert (job["state"], job["error"]["code"], job["error"]["message"]) == (
        "discarded",
        "key-missing",
        "no key of web",
    )
    again = ok(api.post(f"/jobs/{job['id']}/retry"), 202)
    assert (again["retry_of"], again["state"]) == (job["id"], "available")
    assert ok(api.post(f"/jobs/{again['id']}/retry"), 409)["code"] == "conflict"


def test_jobs_are_found_by_state_item_and_kind(api: httpx.Client, plane: ControlPlane) -> None:
    add_everything(api)
    plane.run("etc")
    waiting = ok(api.post("/jobs", json={"kind": "verify", "point": "latest", "item": "etc"}), 202)["id"]

    def found(query: str) -> list[str]:
        return [job["id"] for job in ok(api.get(f"/jobs?{query}"))["items"]]

    assert (found("state=available"), found("kind=verify"), len(found("item=etc"))) == ([waiting], [waiting], 2)


def test_an_identical_policy_makes_no_new_version(api: httpx.Client) -> None:
    results = [ok(api.post("/policies", json={"yaml": text})) for text in (POLICY, POLICY, POLICY + "priority: 1\n")]
    assert [(result["version"]["n"], result["created"]) for result in results] == [(1, True), (1, False), (2, True)]


def test_a_policy_is_shown_with_its_text_and_meaning(api: httpx.Client) -> None:
    ok(api.post("/policies", json={"yaml": POLICY}))
    add_everything(api, policy="nightly")
    policy = ok(api.get("/policies/nightly"))
    assert (policy["yaml"], policy["items"], policy["spec"]["schedules"][0]["zone"]) == (
        POLICY,
        ["etc"],
        "Europe/Berlin",
    )
    assert ok(api.get("/policies"))["items"] == [policy]


def test_a_preview_names_local_times_and_changes_nothing(api: httpx.Client) -> None:
    ok(api.post("/policies", json={"yaml": POLICY}))
    add_everything(api, policy="nightly")
    before = len(ok(api.get("/audit"))["items"])
    fires = ok(api.get("/policies/nightly/preview?days=3"))["fires"]
    assert [(fire["item"], fire["local"][11:], fire["zone"]) for fire in fires] == [
        ("etc", "02:00:00", "Europe/Berlin")
    ] * 3
    assert len(ok(api.get("/audit"))["items"]) == before


def test_a_bad_policy_names_its_lines(api: httpx.Client) -> None:
    document = ok(api.post("/policies", json={"yaml": "name: x\nschedules:\n  - cron: nonsense\n    zone: UTC\n"}), 422)
    assert (document["code"], document["errors"][0]["line"]) == ("policy-invalid", 3)
    assert document["errors"][0]["message"]


def test_the_audit_log_names_who_did_what(api: httpx.Client) -> None:
    add_everything(api)
    lines = ok(api.get("/audit"))["items"]
    assert [(line["actor"], line["action"]) for line in lines] == [
        ("operator", "machine.add"),
        ("operator", "vault.create"),
        ("operator", "item.add"),
    ]
    assert [line["seq"] for line in ok(api.get(f"/audit?after={lines[0]['seq']}"))["items"]] == [2, 3]


def test_the_system_shows_its_queue_slots_and_schema(api: httpx.Client) -> None:
    add_everything(api)
    ok(api.post("/jobs", json={"kind": "backup", "item": "etc"}), 202)
    system = ok(api.get("/system"))
    assert (system["schema"], system["queue"]["available"], system["workers"]) == (head(), 1, [])
    assert {slot["scope"] for slot in system["slots"]} == {"global", "vault"}


def test_metrics_count_what_is_there(api: httpx.Client, plane: ControlPlane) -> None:
    item = add_everything(api)
    plane.run("etc")
    text = httpx.get(str(api.base_url.join("/metrics")), trust_env=False).text
    lines = text.splitlines()
    assert 'skyharbor_jobs{state="completed"} 1.0' in lines
    assert 'skyharbor_items{verdict="unpromised"} 1.0' in lines
    assert 'skyharbor_alarms_open{kind="rpo-missed"} 0.0' in lines
    assert "skyharbor_points 1.0" in lines
    timestamp = f'skyharbor_last_point_timestamp_seconds{{item="{item["id"]}"}}'
    assert any(line.startswith(timestamp) for line in lines)
    assert '"etc"' not in text  # anybody who reaches the port may read it


@pytest.mark.parametrize(("schema_head", "status"), [(None, 200), ("from the future", 503)])
def test_ready_means_that_the_schema_is_ours(plane: ControlPlane, schema_head: str | None, status: int) -> None:
    with clients(application_of(plane, schema_head=schema_head)) as (operator, _):
        assert operator.get("/readyz").status_code == status
