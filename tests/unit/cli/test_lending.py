"""A point that is served or mounted stays held for as long, and by nobody's hold but ours."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from orchestrator.embedded.home import Home
from shared.crypto.keyring import Keyring
from shared.storage.open import create_store
from tests.unit.cli.world import Answer, Ran, Request, World, problem
from tests.unit.serving.points import DEK, Bench, File

UNTIL = "2026-11-26T04:00:00Z"
WAIT = 90


@dataclass
class Lent:
    """A world whose point is in a real vault on disk, with the key of its machine in the home."""

    world: World
    document: dict[str, Any]
    socket: str

    @property
    def path(self) -> str:
        return f"/points/{self.document['id']}"

    def command(self, *arguments: str) -> list[str]:
        options = ["--home", self.world.home, "--server", self.world.server.url, "--token", "t", "--json"]
        return [sys.executable, "-m", "orchestrator", *options, *arguments]

    def serving(self, *arguments: str) -> list[str]:
        return self.command("serve", self.document["id"], "--nbd", f"unix:{self.socket}", *arguments)

    def serve(self, *arguments: str) -> Ran:
        """Serve until the lease ends."""
        ran = subprocess.run(self.serving(*arguments), capture_output=True, text=True, check=False, timeout=WAIT)
        return Ran(ran.returncode, ran.stdout, ran.stderr)

    def posted(self, verb: str) -> list[Request]:
        return self.world.server.seen(f"POST {self.path}/{verb}")

    @contextmanager
    def running(self) -> Iterator[subprocess.Popen[str]]:
        """Have the command running as a process of its own, once it serves."""
        process = subprocess.Popen(self.serving(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            first = process.stdout.readline()
            assert "disks" in json.loads(first or "{}"), first
            yield process
        finally:
            process.kill()
            process.communicate(timeout=WAIT)


@pytest.fixture
def lent(world: World, tmp_path: Path) -> Lent:
    reader = Bench(create_store(f"file://{tmp_path}/vault")).seal([], {b"disk0.raw": File(b"disk" * 1000)})
    Keyring(Home(world.home).keyring).put("machine", DEK)
    Keyring(world.stack.keyring_folder(world.home)).put("machine", DEK)
    document = {
        "id": reader.point.point_id,
        "item": {"id": "item", "name": "the item"},
        "machine": {"id": "machine", "name": "the machine"},
        "vault": {"id": "v", "name": "main", "url": f"file://{tmp_path}/vault"},
        "state": "sealed",
        "held_at": None,
        "held_until": None,
    }
    one = Lent(world, document, str(tmp_path / "nbd"))
    held = {**document, "held_at": UNTIL, "held_until": UNTIL}
    world.server.on(f"GET {one.path}", Answer(body=document), Answer(body=held))
    world.server.on(f"POST {one.path}/hold", Answer(body=held))
    world.server.on(f"POST {one.path}/release", Answer(body=document))
    return one


def test_the_point_is_held_until_the_lease_ends_and_released_then(lent: Lent) -> None:
    ran = lent.serve("--for", "1s")
    begun, ended = (json.loads(line) for line in ran.out.splitlines())
    said = "the lease of 1s has ended: the disks are not served any more\n"
    assert (ran.code, ended, ran.err) == (0, {"ended": "lease"}, said)
    assert begun["disks"] == [
        {"name": "disk0", "size": 4000, "data": 4000, "uri": f"nbd+unix:///disk0?socket={lent.socket}"}
    ]
    (held,) = lent.posted("hold")
    assert held.body["until"] >= begun["until"]  # both are in UTC
    assert len(lent.posted("release")) == 1


def test_somebody_elses_hold_is_left_alone(lent: Lent) -> None:
    theirs = {**lent.document, "held_at": UNTIL, "held_until": None}
    lent.world.server.on(f"GET {lent.path}", Answer(body=theirs))
    assert lent.serve("--for", "1s").code == 0
    assert (lent.posted("hold"), lent.posted("release")) == ([], [])


def test_a_hold_that_somebody_has_changed_meanwhile_is_not_released(lent: Lent) -> None:
    longer = {**lent.document, "held_at": UNTIL, "held_until": "2027-01-01T00:00:00Z"}
    lent.world.server.on(f"GET {lent.path}", Answer(body=lent.document), Answer(body=longer))
    assert lent.serve("--for", "1s").code == 0
    assert (len(lent.posted("hold")), lent.posted("release")) == (1, [])


def test_a_damaged_point_is_served_and_neither_held_nor_released(lent: Lent) -> None:
    lent.world.server.on(f"GET {lent.path}", Answer(body={**lent.document, "state": "damaged"}))
    assert lent.serve("--for", "1s").code == 0
    assert (lent.posted("hold"), lent.posted("release")) == ([], [])


def test_a_point_that_cannot_be_held_is_served_with_a_warning(lent: Lent) -> None:
    lent.world.server.on(f"POST {lent.path}/hold", problem("conflict", "it is doomed"))
    ran = lent.serve("--for", "1s")
    assert ran.code == 0
    assert "warning: the point is not held: " in ran.err
    assert "it is doomed" in ran.err
    assert lent.posted("release") == []


def test_a_reader_that_does_not_begin_ends_the_command_with_its_code_and_the_hold(lent: Lent) -> None:
    Path(lent.socket).write_text("in the way")
    ran = lent.serve()
    assert (ran.code, ran.json["error"]["code"]) == (1, "target-invalid")
    assert (len(lent.posted("hold")), len(lent.posted("release"))) == (1, 1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_both_programs_and_the_hold(lent: Lent, number: int) -> None:
    with lent.running() as process:
        process.send_signal(number)
        out, err = process.communicate(timeout=WAIT)
    assert (process.returncode, json.loads(out), err) == (0, {"ended": "stopped"}, "")
    assert not os.path.exists(lent.socket)
    assert (len(lent.posted("hold")), len(lent.posted("release"))) == (1, 1)


def test_a_command_that_is_killed_takes_its_reader_along(lent: Lent) -> None:
    with lent.running() as process:
        process.kill()
        out, _ = process.communicate(timeout=WAIT)  # ends when nobody has the other end any more
    assert json.loads(out) == {"ended": "stopped"}
    assert not os.path.exists(lent.socket)


@pytest.mark.parametrize("given", [["--for", "soon"], ["--nbd", "nowhere"]])
def test_what_makes_no_sense_is_refused(lent: Lent, given: list[str]) -> None:
    ran = lent.world.run(
        "serve", lent.document["id"], *(given if given[0] == "--nbd" else ["--nbd", "unix:/x", *given])
    )
    assert ran.code == 2


def test_the_roles_of_serve_are_still_themselves(world: World) -> None:
    ran = world.run("serve", "wroker")
    assert (ran.code, "No such command 'wroker'" in ran.err) == (2, True)
    assert world.run("serve", "health", "--file", "/nothing").code == 1


def test_mount_is_a_command_that_hands_everything_to_the_reader(lent: Lent, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("")
    command = lent.command("mount", lent.document["id"], str(tmp_path / "full"), "--for", "1s")
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=WAIT)
    assert (ran.returncode, json.loads(ran.stdout)["error"]["code"]) == (1, "target-invalid")
    assert (len(lent.posted("hold")), len(lent.posted("release"))) == (1, 1)
