"""Keys and passphrases: where they go, and where they never go."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from orchestrator.cli.ports import Endpoint
from shared.crypto.keyring import Keyring, read_key_file
from shared.crypto.slots import open_slots
from tests.unit.cli.world import Answer, Request, World, problem

PASSPHRASE = "correct horse battery staple"


@pytest.fixture
def passphrase_file(tmp_path: Path) -> str:
    file = tmp_path / "passphrase"
    file.write_text(PASSPHRASE + "\n")
    return str(file)


def accept(request: Request) -> Answer:
    """Answer as the tower does to a machine that it takes."""
    return Answer(201, {**request.body, "created_at": "2026-11-22T10:00:00Z", "items": 0})


def keys_of(world: World) -> list[str]:
    folder = world.stack.keyring_folder(world.home)
    return os.listdir(folder) if os.path.isdir(folder) else []


def test_the_tower_gets_a_slot_that_the_passphrase_opens_to_the_kept_key(world: World, passphrase_file: str) -> None:
    world.server.on("POST /machines", accept)
    assert world.run("machine", "add", "web", "--passphrase-file", passphrase_file).code == 0
    sent = world.server.seen("POST /machines")[0].body
    kept = Keyring(world.stack.keyring_folder(world.home)).get(sent["id"])
    assert open_slots(sent["key_slots"], PASSPHRASE, machine_id=sent["id"]) == kept
    assert (sorted(sent), PASSPHRASE in str(sent)) == (["id", "key_slots", "name"], False)


def test_a_machine_says_where_it_stands_and_whose_it_is_only_if_it_was_told(world: World, passphrase_file: str) -> None:
    """It sent an empty location, which the tower refuses: no machine could be added."""
    world.server.on("POST /machines", accept)
    world.run("machine", "add", "web", "--passphrase-file", passphrase_file)
    world.run("machine", "add", "db", "--passphrase-file", passphrase_file, "--location", "berlin", "--tenant", "acme")
    first, second = (request.body for request in world.server.seen("POST /machines"))
    assert {"tenant", "location"} & set(first) == set()
    assert (second["location"], second["tenant"]) == ("berlin", "acme")


def test_a_generated_passphrase_is_shown_once_and_opens_the_slot(world: World) -> None:
    world.server.on("POST /machines", accept)
    shown = world.run("--json", "machine", "add", "web", "--generate-passphrase")
    sent = world.server.seen("POST /machines")[0].body
    assert open_slots(sent["key_slots"], shown.json["passphrase"], machine_id=sent["id"])
    assert shown.json["passphrase"] not in shown.err


def test_people_see_a_generated_passphrase_on_stderr_with_a_word_of_advice(world: World) -> None:
    world.server.on("POST /machines", accept)
    ran = world.run("machine", "add", "web", "--generate-passphrase")
    assert "Write this passphrase down" in ran.err
    assert ran.err.count("-") > 5
    assert "Write" not in ran.out


def test_a_refused_machine_leaves_no_key_behind(world: World, passphrase_file: str) -> None:
    world.server.on("POST /machines", problem("already-exists"))
    assert world.run("machine", "add", "web", "--passphrase-file", passphrase_file).code == 5
    assert keys_of(world) == []


def test_a_lost_reply_is_looked_up_and_the_key_kept(world: World, passphrase_file: str) -> None:
    def lose(request: Request) -> Answer:
        body: dict[str, Any] = request.body
        world.server.on(f"GET /machines/{body['id']}", Answer(body=accept(request).body))
        return Answer(drop=True)

    world.server.on("POST /machines", lose)
    assert world.run("machine", "add", "web", "--passphrase-file", passphrase_file).code == 0
    assert len(keys_of(world)) == 1


def test_when_nobody_knows_nothing_is_thrown_away(world: World) -> None:
    world.server.on("POST /machines", Answer(drop=True))
    ran = world.run("machine", "add", "web", "--generate-passphrase")
    assert (ran.code, len(keys_of(world))) == (6, 1)
    assert "Write this passphrase down" in ran.err


def test_a_short_passphrase_is_refused_before_anything_is_made(world: World, tmp_path: Path) -> None:
    file = tmp_path / "short"
    file.write_text("fifteen letters")
    ran = world.run("--json", "machine", "add", "web", "--passphrase-file", str(file))
    assert (ran.code, ran.json["error"]["code"]) == (2, "passphrase-too-short")
    assert (world.server.requests, keys_of(world)) == ([], [])


def test_a_machine_of_another_tower_needs_a_place_for_its_key(world: World, passphrase_file: str) -> None:
    world.stack.running = None
    ran = world.run("--server", world.server.url, "machine", "add", "web", "--passphrase-file", passphrase_file)
    assert (ran.code, "--key-file" in ran.err, world.server.requests) == (2, True, [])


def test_a_key_file_is_private_and_never_overwritten(world: World, passphrase_file: str, tmp_path: Path) -> None:
    world.server.on("POST /machines", accept)
    place = str(tmp_path / "web.key")
    argv = ("--json", "machine", "add", "web", "--passphrase-file", passphrase_file, "--key-file", place)
    added = world.run(*argv).json
    again = world.run(*argv)
    assert (again.code, again.json["error"]["code"]) == (5, "already-exists")
    sent = world.server.seen("POST /machines")[0].body
    dek = open_slots(sent["key_slots"], PASSPHRASE, machine_id=sent["id"])
    assert read_key_file(place, machine_id=added["id"]) == dek
    assert (keys_of(world), sorted(os.listdir(tmp_path))) == ([], ["passphrase", "web.key"])


def test_unlocking_gives_this_home_the_key_and_a_wrong_passphrase_gives_nothing(
    world: World, passphrase_file: str, tmp_path: Path
) -> None:
    world.server.on("POST /machines", accept)
    world.run("machine", "add", "web", "--passphrase-file", passphrase_file)
    sent = world.server.seen("POST /machines")[0].body
    world.server.on("GET /machines/web", Answer(body=sent))
    keyring = Keyring(world.stack.keyring_folder(world.home))
    kept = keyring.get(sent["id"])
    os.unlink(keyring.path(sent["id"]))
    wrong = tmp_path / "wrong"
    wrong.write_text("incorrect horse battery staple")
    assert world.run("machine", "unlock", "web", "--passphrase-file", str(wrong)).code == 5
    assert keys_of(world) == []
    assert world.run("machine", "unlock", "web", "--passphrase-file", passphrase_file).code == 0
    assert keyring.get(sent["id"]) == kept


def test_without_a_running_tower_no_key_is_made(world: World) -> None:
    world.stack.running = None
    assert world.run("machine", "add", "web", "--generate-passphrase").code == 6
    assert keys_of(world) == []


def test_a_tower_that_refuses_the_connection_leaves_no_doubt_behind(world: World) -> None:
    world.stack.running = Endpoint("http://127.0.0.1:1", "t")
    assert world.run("machine", "add", "web", "--generate-passphrase").code == 6
