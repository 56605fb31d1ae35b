"""What operators name, and what they are told when it is something else or was named before."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest

from orchestrator.cli.ports import Endpoint
from tests.unit.cli.world import Answer, World, problem, serving

COMMON = ("--machine", "m", "--vault", "v")
REMOVED = {"id": "0194aaaa", "name": "shop", "removed_at": "2026-11-01T10:00:00Z"}
POINT = {
    "id": "0194bbbb", "item": {"id": "0194aaaa", "name": "shop"}, "sealed_at": "2026-10-31T10:00:00Z", "type": "full",
    "files": 1, "bytes": 1, "bytes_transferred": 1, "state": "sealed", "verified_at": None,
}  # fmt: skip


def page(*items: dict[str, Any]) -> Answer:
    return Answer(body={"items": list(items), "next": None})


@pytest.fixture
def reused(world: World) -> World:
    """A world in which an item of the name shop was removed, and has a point."""
    world.server.on("POST /items", Answer(201, {"name": "shop"}))
    world.server.on("GET /items", page(REMOVED))
    world.server.on("GET /points", page(POINT))
    return world


def test_who_takes_the_name_of_a_removed_item_is_told_where_its_points_are(reused: World) -> None:
    ran = reused.run("item", "add", "files", "shop", *COMMON, "--path", "/etc")
    assert ran.code == 0
    assert "was removed on" in ran.err
    assert "skyharbor point list 0194aaaa" in ran.err
    assert reused.server.seen("GET /items")[0].query == "removed=true&name=shop"


def test_a_tower_that_cannot_say_it_does_not_spoil_what_was_added(world: World) -> None:
    world.server.on("POST /items", Answer(201, {"name": "shop"}))
    world.server.on("GET /items", problem("internal"))
    ran = world.run("item", "add", "files", "shop", *COMMON, "--path", "/etc")
    assert (ran.code, ran.err) == (0, "")


def test_points_of_removed_items_are_listed_by_their_name(reused: World) -> None:
    ran = reused.run("point", "list", "shop", "--removed")
    assert "0194bbbb" in ran.out
    assert reused.server.seen("GET /points")[0].query == "item=0194aaaa"
    assert "0194aaaa" in reused.run("item", "list", "--removed", "--json").out


def test_a_list_of_points_says_that_there_are_others_of_that_name(reused: World) -> None:
    other = {**POINT, "item": {"id": "0194cccc", "name": "shop"}}
    reused.server.on("GET /points", page(other))
    assert "skyharbor point list 0194aaaa" in reused.run("point", "list", "shop").err
    reused.server.on("GET /points", page(POINT))  # the removed one's own
    assert reused.run("point", "list", "shop").err == ""


def test_the_item_of_a_list_of_points_is_given_either_way_but_once(reused: World) -> None:
    reused.run("point", "list", "--item", "shop", "--json")
    assert reused.server.seen("GET /points")[0].query == "item=shop"
    assert reused.run("point", "list", "shop", "--item", "shop").code == 2


@pytest.mark.parametrize(
    "argv",
    [("point", "ls", "/etc", "--item", "shop"), ("restore", "/etc", "--to", "/x", "--item", "shop")],
)
def test_a_path_where_a_point_belongs_is_said_with_what_to_write(world: World, argv: tuple[str, ...]) -> None:
    ran = world.run(*argv)
    assert ran.code == 2
    assert "latest /etc --item shop" in ran.err
    assert world.server.requests == []


@pytest.fixture
def taking(world: World) -> World:
    """A world that takes every item."""
    world.server.on("POST /items", Answer(201, {"name": "x"}))
    world.server.on("GET /items", page())
    return world


def test_what_a_worker_on_this_machine_could_not_use_is_warned_of(taking: World, tmp_path: Path) -> None:
    (tmp_path / "creds").write_text("password=x\n", encoding="utf-8")
    (tmp_path / "creds").chmod(0o644)
    (tmp_path / "image").write_bytes(b"")
    here = str(tmp_path)

    def warned(*argv: str) -> list[str]:
        ran = taking.run("item", "add", argv[0], "x", *COMMON, *argv[1:])
        assert ran.code == 0, ran.err
        return ran.err.splitlines()

    share = ("smb", "--url", "smb://h/s", "--credentials-file")
    assert warned("vm", "--disk", here) == [f"warning: {here} is no image of a disk; backups fail"]
    assert warned("vm", "--qmp", f"{here}/image") == [f"warning: {here}/image is no socket; backups fail"]
    assert warned("sqlite", "--path", here) == [f"warning: {here} is a folder, not a database; backups fail"]
    assert warned(*share, f"{here}/creds") == [
        f"warning: others may read {here}/creds, and backups fail while they do: chmod 600 {here}/creds"
    ]
    assert warned(*share, f"{here}/none") == [
        f"warning: {here}/none: there is no such file of credentials now; backups fail until there is"
    ]
    (tmp_path / "creds").chmod(0o600)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{here}/qmp")
        assert warned("vm", "--qmp", f"{here}/qmp") == []
    assert warned(*share, f"{here}/creds") == warned("vm", "--disk", f"{here}/image") == []


def test_the_same_is_warned_of_when_an_item_is_changed(world: World, tmp_path: Path) -> None:
    item = {"name": "nas", "workload": "smb", "source": {"url": "smb://h/s", "credentials_file": "/c"}}
    full = {
        **item, "id": "i", "machine": {"name": "m"}, "vault": {"name": "v"}, "created_at": "2026-10-31T10:00:00Z",
    }  # fmt: skip
    world.server.on("GET /items/nas", Answer(body=full))
    world.server.on("PATCH /items/nas", Answer(body=full))
    ran = world.run("item", "set", "nas", "--source", f"credentials_file={tmp_path}/none")
    assert (ran.code, "no such file of credentials" in ran.err) == (0, True)


def test_a_relative_path_means_nothing_to_a_tower_elsewhere(taking: World) -> None:
    with serving() as other:
        other.on("POST /items", Answer(201, {"name": "x"}))
        ran = taking.run("--server", other.url, "item", "add", "files", "x", *COMMON, "--path", "data")
        assert (ran.code, other.seen("POST /items")) == (2, [])
        assert "write them from the root" in ran.err
        assert taking.run("--server", other.url, "item", "add", "files", "x", *COMMON, "--path", "/data").code == 0
    assert taking.stack.running == Endpoint(taking.server.url, taking.stack.running.token)  # type: ignore[union-attr]
    taking.run("item", "add", "files", "x", *COMMON, "--path", "data")
    assert taking.server.seen("POST /items")[0].body["source"]["paths"] == [f"{os.getcwd()}/data"]
