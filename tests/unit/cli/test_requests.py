"""What commands send, and to whom."""

from __future__ import annotations

import os
import time
from datetime import datetime
from pathlib import Path

import pytest

from orchestrator.cli.ports import MOST_WORKERS, Endpoint, UpOptions
from shared.errors import SkyharborError
from tests.unit.cli.jobs import a_job, an_error
from tests.unit.cli.world import Answer, World, problem, serving
from workers.settings import WorkerSettings

AN_ITEM = {"name": "etc"}
NO_RULES = {"caches": False, "if_present": [], "nodump": False, "larger_than": None, "one_file_system": False}
RULES = {
    "caches": True,
    "if_present": [".nobackup", ".git"],
    "nodump": True,
    "larger_than": 500 << 20,
    "one_file_system": True,
}


def test_paths_to_protect_are_made_absolute_and_plain(world: World) -> None:
    world.server.on("POST /items", Answer(201, AN_ITEM))
    world.run(
        "item", "add", "files", "etc", "--machine", "m", "--vault", "v", "--path", "//etc/", "here", "--exclude", "*.o"
    )
    assert world.server.seen("POST /items")[0].body == {
        "name": "etc",
        "workload": "files",
        "machine": "m",
        "vault": "v",
        "source": {
            "paths": ["/etc", f"{os.getcwd()}/here"],
            "excludes": ["*.o"],
            "rules": NO_RULES,
            "hooks": {"before": [], "after": [], "timeout": 60},
            "snapshot": "none",
            "snapshot_percent": 0,
            "journal": False,
        },
        "policy": None,
        "tags": [],
        "rpo": None,
        "retention": None,
    }


def test_every_rule_of_an_item_travels_and_is_shown(world: World) -> None:
    world.server.on("POST /items", Answer(201, AN_ITEM))
    ran = world.run(
        *("item", "add", "files", "etc", "--machine", "m", "--vault", "v", "--path", "/etc", "--exclude-caches"),
        *("--exclude-if-present", ".nobackup", "--exclude-if-present", ".git", "--exclude-nodump"),
        *("--exclude-larger-than", "500M", "--one-file-system"),
    )
    assert (ran.code, world.server.seen("POST /items")[0].body["source"]["rules"]) == (0, RULES)
    thing = {"id": "1", "name": "n"}
    source = {"paths": ["/etc"], "excludes": ["*.o"], "rules": RULES}
    item = {**thing, "workload": "files", "machine": thing, "vault": thing, "source": source, "created_at": None}
    world.server.on("GET /items/etc", Answer(body=item))
    shown = [
        line.split(maxsplit=2)[2] for line in world.run("item", "show", "etc").out.splitlines() if "leaves" in line
    ]
    assert shown == [
        "caches: what is beside a CACHEDIR.TAG",
        "what is beside .nobackup",
        "what is beside .git",
        "what has the nodump attribute",
        "files larger than 500.0 MiB (524,288,000 bytes)",
        "other file systems",
    ]


def test_how_files_are_held_travels_and_commands_are_taken_apart_like_a_shell_does(world: World) -> None:
    world.server.on("POST /items", Answer(201, AN_ITEM))
    ran = world.run(
        *("item", "add", "files", "etc", "--machine", "m", "--vault", "v", "--path", "/etc", "--journal"),
        *("--before", "quiesce --all 'two words'", "--after", "thaw", "--hook-timeout", "5m", "--snapshot", "lvm"),
        *("--snapshot-percent", "30"),
    )
    source = world.server.seen("POST /items")[0].body["source"]
    assert ran.code == 0
    assert source["hooks"] == {"before": ["quiesce", "--all", "two words"], "after": ["thaw"], "timeout": 300}
    assert (source["snapshot"], source["snapshot_percent"], source["journal"]) == ("lvm", 30, True)
    thing = {"id": "1", "name": "n"}
    item = {**thing, "workload": "files", "machine": thing, "vault": thing, "source": source, "created_at": None}
    world.server.on("GET /items/etc", Answer(body=item))
    shown = dict(line.strip().split("  ", 1) for line in world.run("item", "show", "etc").out.splitlines())
    names = ("before", "after", "hook timeout", "snapshot", "snapshot percent", "journal")
    held = {name: shown.get(name, "").strip() for name in names}
    assert held == {
        "before": "quiesce --all 'two words'",
        "after": "thaw",
        "hook timeout": "300 s",
        "snapshot": "lvm",
        "snapshot percent": "30",
        "journal": "yes",
    }


@pytest.mark.parametrize(
    "options",
    [("--before", "it's"), ("--hook-timeout", "long"), ("--snapshot", "magic"), ("--snapshot-percent", "101")],
)
def test_hooks_and_snapshots_that_are_none_are_refused_before_anything_is_sent(
    world: World, options: tuple[str, str]
) -> None:
    arguments = ("item", "add", "files", "etc", "--machine", "m", "--vault", "v", "--path", "/etc")
    assert world.run(*arguments, *options).code == 2
    assert world.server.requests == []


def test_a_size_that_is_none_is_refused_before_anything_is_sent(world: World) -> None:
    arguments = ("item", "add", "files", "etc", "--machine", "m", "--vault", "v", "--path", "/etc")
    assert world.run(*arguments, "--exclude-larger-than", "lots").code == 2
    assert world.server.requests == []


def test_a_path_that_is_not_there_is_told_where_it_can_be_known(world: World, tmp_path: Path) -> None:
    world.server.on("POST /items", Answer(201, AN_ITEM))
    add = (
        "item",
        "add",
        "files",
        "etc",
        "--machine",
        "m",
        "--vault",
        "v",
        "--path",
        str(tmp_path),
        str(tmp_path / "no"),
    )
    here = world.run(*add)
    world.stack.running = None
    elsewhere = world.run("--server", world.server.url, *add)
    assert (here.code, elsewhere.code) == (0, 0)
    assert here.err.startswith(f"warning: {tmp_path}/no: there is no such file")
    assert (here.err.count("warning"), elsewhere.err) == (1, "")


def test_a_short_outage_behind_a_living_api_does_not_fail_what_may_be_repeated(world: World) -> None:
    away = problem("server-unreachable", "the database does not answer")
    world.server.on("GET /items", away, Answer(503, "<html>", "text/html"), Answer(body={"items": [], "next": None}))
    world.server.on("POST /jobs", away, Answer(202, a_job()))
    world.server.on("POST /items/i/pause", away, Answer(body=AN_ITEM))
    exits = [world.run(*argv).code for argv in (("item", "list"), ("backup", "etc"), ("item", "pause", "i"))]
    assert exits == [0, 0, 6]
    assert len({request.headers["Idempotency-Key"] for request in world.server.seen("POST /jobs")}) == 1


def test_a_restore_names_an_absolute_target_and_paths_of_the_machine(world: World) -> None:
    world.server.on("POST /jobs", Answer(202, a_job(kind="restore")))
    world.run("restore", "latest", "/etc//hosts/", "--item", "etc", "--to", "out", "--conflict", "rename")
    assert world.server.seen("POST /jobs")[0].body == {
        "kind": "restore",
        "point": "latest",
        "item": "etc",
        "target": f"{os.getcwd()}/out",
        "paths": ["/etc/hosts"],
        "conflict": "rename",
        "options": {},
    }


def test_names_travel_escaped(world: World) -> None:
    world.run("vault", "show", "a/b?c")
    assert world.server.requests[0].path == "/api/v1/vaults/a%2Fb%3Fc"


def test_lists_are_read_to_their_last_page(world: World) -> None:
    pages = ({"items": [{"id": "1"}], "next": "c/2"}, {"items": [{"id": "2"}], "next": None})
    world.server.on("GET /items", *(Answer(body=page) for page in pages))
    assert [item["id"] for item in world.run("--json", "item", "list").json["items"]] == ["1", "2"]
    assert world.server.requests[1].query == "cursor=c%2F2"


def test_the_stack_of_the_home_is_asked_with_its_token(world: World) -> None:
    world.run("item", "list")
    assert world.server.requests[0].headers["Authorization"] == "Bearer operator-token"


def test_another_server_never_hears_the_homes_token(world: World) -> None:
    with serving() as other:
        world.run("--server", other.url, "item", "list")
        assert "Authorization" not in other.requests[0].headers


def test_the_homes_own_server_named_by_url_gets_the_homes_token(world: World) -> None:
    world.run("--server", world.server.url + "/", "item", "list")
    assert world.server.requests[0].headers["Authorization"] == "Bearer operator-token"


def test_flag_beats_environment_beats_context_beats_home(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    token = Path(world.config_file).with_name("token")
    token.write_text("of-the-context\n")
    config = f'[contexts.far]\nserver = "{world.server.url}"\ntoken_file = "{token}"\n'
    Path(world.config_file).write_text(config)
    world.stack.running = Endpoint("http://127.0.0.1:1", "t")
    world.run("--context", "far", "item", "list")
    monkeypatch.setenv("SKYHARBOR_SERVER", world.server.url)
    monkeypatch.setenv("SKYHARBOR_TOKEN", "of-the-environment")
    world.run("--context", "nowhere", "item", "list")
    world.run("--token", "of-the-flag", "item", "list")
    tokens = [request.headers["Authorization"] for request in world.server.requests]
    assert tokens == ["Bearer of-the-context", "Bearer of-the-environment", "Bearer of-the-flag"]


def test_an_unknown_context_is_no_such_thing(world: World) -> None:
    assert world.run("--context", "nowhere", "item", "list").code == 4


def test_a_broken_configuration_file_is_named(world: World) -> None:
    Path(world.config_file).write_text("[contexts\n")
    ran = world.run("item", "list")
    assert (ran.code, world.config_file in ran.err) == (2, True)


def test_up_passes_its_options_and_announces_once(world: World) -> None:
    ran = world.run("--json", "up", "--detach", "--port", "0", "--workers", "3", "--flower")
    assert world.stack.ups == [UpOptions(port=0, workers=3, flower=True, detach=True)]
    assert ran.json["url"] == world.server.url


def test_up_takes_no_more_workers_than_a_worker_process_accepts(world: World, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("t")
    variables = {
        "TOWER_URL": "http://h",
        "BROKER_URL": "redis://h",
        "WORKER_STATE": "/s",
        "WORKER_TOKEN_FILE": str(token),
    }
    environment = {f"SKYHARBOR_{name}": value for name, value in variables.items()}

    def accepted(count: int) -> bool:
        try:
            WorkerSettings.from_environment({**environment, "SKYHARBOR_WORKER_CONCURRENCY": str(count)})
        except SkyharborError:
            return False
        return True

    for count in (MOST_WORKERS, MOST_WORKERS + 1):
        assert (world.run("up", "--workers", str(count)).code == 0) == accepted(count)


def test_down_twice_is_fine(world: World) -> None:
    assert [world.run("--json", "down").json["stopped"] for _ in range(2)] == [True, False]


def test_a_policy_is_read_from_its_file(world: World, tmp_path: Path) -> None:
    file = tmp_path / "nightly.yaml"
    file.write_text("name: nächtlich\n", encoding="utf-8")
    answer = {"name": "n", "version": {"n": 1, "id": "i", "created_at": "2026-11-22T10:00:00Z"}, "created": True}
    world.server.on("POST /policies", Answer(body=answer))
    assert world.run("policy", "apply", str(file)).out == "policy n is now version 1\n"
    assert world.server.requests[0].body == {"yaml": "name: nächtlich\n"}


def test_vault_verify_proves_the_newest_point_of_its_items_and_exits_by_the_worst(world: World) -> None:
    def item(name: str, vault: str) -> dict[str, object]:
        return {"id": f"id-of-{name}", "name": name, "vault": {"id": vault}, "last_point": {"id": f"sealed-{name}"}}

    world.server.on("GET /vaults/v", Answer(body={"id": "v", "name": "v"}))
    listed = [item("a", "v"), item("b", "v"), item("c", "other"), {**item("d", "v"), "last_point": None}]
    world.server.on("GET /items", Answer(body={"items": listed, "next": None}))
    sound, damaged = ({"problems": 0, "warnings": 0}, {"problems": 1, "warnings": 1})
    jobs = [a_job(id=str(n), kind="verify", state="completed", stats=s) for n, s in enumerate((sound, damaged))]
    world.server.on("POST /jobs", *(Answer(202, job) for job in jobs), problem("not-found", "d has no point yet"))
    ran = world.run("--json", "vault", "verify", "v", "--full")
    # The newest, not the item's last sound point: that one is known to be sound, and the vault would look so too.
    asked = [[request.body[key] for key in ("point", "item", "full")] for request in world.server.seen("POST /jobs")]
    assert asked == [["latest", name, True] for name in ("id-of-a", "id-of-b", "id-of-d")]
    assert (ran.code, [job["id"] for job in ran.json["items"]]) == (1, ["0", "1"])


def test_vault_verify_says_why_a_point_is_not_sound(world: World) -> None:
    world.server.on("GET /vaults/v", Answer(body={"id": "v", "name": "v"}))
    world.server.on("GET /items", Answer(body={"items": [{"id": "1", "vault": {"id": "v"}}], "next": None}))
    gone = a_job(kind="verify", state="discarded", item="etc", error=an_error("vault-missing"))
    world.server.on("POST /jobs", Answer(202, gone))
    ran = world.run("vault", "verify", "v")
    assert (ran.code, "error: etc: T: M (vault-missing)" in ran.err, "hint: " in ran.err) == (1, True, True)


def test_a_moment_is_local_unless_it_has_a_zone_and_a_name_is_left_alone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``item show`` prints local times; one that is copied from there must mean the same."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    world.server.on("POST /jobs", *(Answer(202, a_job(kind="restore")) for _ in range(3)))
    for until in ("2026-11-25 23:10:20", "2026-11-25T22:10:20Z", "before-the-upgrade"):
        world.run("restore", "latest", "--item", "db", "--to", "/d", "--until", until)
    monkeypatch.undo()
    time.tzset()
    told = [request.body["options"]["until"] for request in world.server.seen("POST /jobs")]
    moments = [datetime.fromisoformat(one) for one in told[:2]]
    assert (moments[0], moments[0].utcoffset() is not None, told[2]) == (moments[1], True, "before-the-upgrade")


@pytest.mark.parametrize(
    "words", [("--passphrase-file", "/nowhere"), ("--plan", "--until", "latest"), ("--plan", "--format", "raw")]
)
def test_what_a_restore_would_pass_over_is_refused(world: World, words: tuple[str, ...]) -> None:
    assert world.run("restore", "latest", "--item", "etc", "--to", "/d", *words).code == 2
    assert world.server.seen("POST /jobs") == []


def a_database(**source: object) -> dict[str, object]:
    fields = {"dsn": "host=a", "credentials_file": "", "dumps": [], "physical": True, **source}
    return {"id": "0b6f-ab", "name": "db", "workload": "postgres", "source": fields}


def test_a_field_of_a_source_is_changed_and_the_others_stay(world: World) -> None:
    world.server.on("GET /items/db", Answer(body=a_database()))
    world.server.on("PATCH /items/db", Answer(body=a_database()))
    world.run("--json", "item", "set", "db", "--source", "dsn=host=b port=1", "--source", "physical=no")
    assert world.server.seen("PATCH /items/db")[0].body == {
        "source": {
            "workload": "postgres", "dsn": "host=b port=1", "credentials_file": "", "dumps": [], "physical": False,
        }
    }  # fmt: skip


def test_a_number_of_a_source_is_changed_as_a_number(world: World) -> None:
    source = {"url": "nfs://nas/x", "uid": 0, "gid": 0, "excludes": []}
    item = {"id": "0b6f", "name": "home", "workload": "nfs", "source": source}
    world.server.on("GET /items/home", Answer(body=item))
    world.server.on("PATCH /items/home", Answer(body=item))
    ran = world.run("item", "set", "home", "--source", "uid=root")
    world.run("--json", "item", "set", "home", "--source", "uid=1000")
    assert (ran.code, "uid is a whole number" in ran.err) == (2, True)
    assert [seen.body for seen in world.server.seen("PATCH /items/home")] == [
        {"source": {"workload": "nfs", **source, "uid": 1000}}
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--exclude", "*.x"), "which has no excludes"),
        (("--path", "/x"), "which has no paths"),
        (("--source", "nothing=1"), "the fields are credentials_file, dsn, physical"),
        (("--source", "physical=perhaps"), "physical is yes or no"),
    ],
)
def test_what_a_workload_does_not_have_cannot_be_set(world: World, words: tuple[str, ...], said: str) -> None:
    world.server.on("GET /items/db", Answer(body=a_database()))
    ran = world.run("item", "set", "db", *words)
    assert (ran.code, said in ran.err) == (2, True)
    assert world.server.seen("PATCH /items/db") == []


def test_a_number_of_a_source_is_changed_and_nothing_but_a_number(world: World) -> None:
    item = {**a_database(), "workload": "files", "source": {"paths": ["/etc"], "snapshot_percent": 0, "journal": True}}
    world.server.on("GET /items/db", Answer(body=item))
    world.server.on("PATCH /items/db", Answer(body=item))
    world.run("--json", "item", "set", "db", "--source", "snapshot_percent=30")
    sent = world.server.seen("PATCH /items/db")[0].body["source"]
    assert (sent["snapshot_percent"], sent["journal"]) == (30, True)
    ran = world.run("item", "set", "db", "--source", "snapshot_percent=much")
    assert (ran.code, "snapshot_percent is a whole number" in ran.err) == (2, True)


def test_whoever_removes_a_postgres_item_is_told_of_its_slot(world: World) -> None:
    world.server.on("GET /items/db", Answer(body=a_database()))
    world.server.on("DELETE /items/db", Answer(204))
    assert "pg_drop_replication_slot('skyharbor_0b6f_ab')" in world.run("item", "remove", "db").out
