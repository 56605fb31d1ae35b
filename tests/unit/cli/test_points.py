"""Looking into recovery points, beside the tower."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from orchestrator.cli.break_glass import BreakGlass
from orchestrator.cli.ports import Listing
from shared.crypto.domain_keys import new_dek
from shared.crypto.keyring import Keyring
from shared.errors import SkyharborError
from tests.unit.cli.jobs import a_done_job
from tests.unit.cli.world import Answer, World

MACHINE = "01940000-0000-7000-8000-00000000beef"
POINT = {
    "id": "01940000-0000-7000-8000-0000000000aa",
    "item": {"id": "i", "name": "etc"},
    "machine": {"id": MACHINE, "name": "web", "key_slots": []},
    "vault": {"id": "v", "name": "main", "url": "file:///vault"},
    "sealed_at": "2026-11-22T10:00:03Z",
}
FOLDER = {
    "path": "/etc",
    "type": "directory",
    "mode": 0o755,
    "uid": 0,
    "gid": 0,
    "size": 0,
    "mtime": "2026-11-22T10:00:00.123456789Z",
}
HOSTS = {**FOLDER, "path": "/etc/hosts", "type": "file", "mode": 0o644, "size": 120, "target": None}
LINK = {**FOLDER, "path": "/etc/mtab", "type": "symlink", "mode": 0o777, "size": 19, "target": "/proc/self/mounts"}


@pytest.fixture
def unlocked(world: World) -> World:
    """A world whose home holds the key of the point's machine."""
    Keyring(world.stack.keyring_folder(world.home)).put(MACHINE, new_dek())
    world.server.on("GET /points/latest", Answer(body=POINT))
    world.lister.listed = [FOLDER, HOSTS, LINK]
    return world


def test_ls_reads_the_vault_with_the_key_of_this_home(unlocked: World) -> None:
    ran = unlocked.run("--json", "point", "ls", "latest", "/etc", "--item", "etc")
    assert ran.json == {"point": POINT["id"], "entries": [FOLDER, HOSTS, LINK]}
    key_file = Keyring(unlocked.stack.keyring_folder(unlocked.home)).path(MACHINE)
    listing = Listing("file:///vault", MACHINE, "etc", str(POINT["id"]), "/etc", key_file=key_file)
    assert unlocked.lister.asked == [listing]
    assert unlocked.server.requests[0].query == "item=etc"


def test_ls_for_people_reads_like_ls(unlocked: World) -> None:
    lines = unlocked.run("point", "ls", "latest", "--item", "etc").out.splitlines()
    assert lines[1].startswith("file      0644         0:0      120 B ")
    assert lines[2].endswith(" /etc/mtab -> /proc/self/mounts")


def test_names_that_command_a_terminal_or_forge_a_line_are_shown_and_not_obeyed(unlocked: World) -> None:
    bad = {**HOSTS, "path": "/etc/\x1b]0;owned\x07\x9b31m", "target": None}
    forged = {**LINK, "path": "/etc/a\nfile  0644 /etc/b", "target": "\x1b[2J"}
    unlocked.lister.listed = [bad, forged]
    lines = unlocked.run("point", "ls", "latest", "--item", "etc").out.split("\n")
    assert [line.partition(" /etc/")[2] for line in lines if line] == [
        r"\x1b]0;owned\x07\x9b31m",
        r"a\x0afile  0644 /etc/b -> \x1b[2J",
    ]
    warnings = [{"path": "/etc/\x1b[2J\nerror: all is lost", "code": "unreadable", "message": "\x1b[1m"}]
    unlocked.server.on("GET /jobs/1", Answer(body=a_done_job(warnings=warnings)))
    shown = unlocked.run("job", "show", "1").out
    assert r"/etc/\x1b[2J\x0aerror: all is lost: \x1b[1m (unreadable)" in shown
    assert "\x1b" not in shown


def test_a_name_that_the_terminal_has_no_letters_for_does_not_end_the_list(
    unlocked: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    unlocked.lister.listed = [{**HOSTS, "path": "/etc/é"}, HOSTS]
    ascii_only = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", ascii_only)
    ran = unlocked.run("point", "ls", "latest", "--item", "etc")
    ascii_only.flush()
    shown = ascii_only.buffer.getvalue().decode()  # type: ignore[attr-defined]
    assert (ran.code, "/etc/\\xe9\n" in shown, "/etc/hosts\n" in shown) == (0, True, True)


def test_parts_of_disks_say_what_they_hold_and_why_they_cannot_be_browsed(unlocked: World) -> None:
    part = FOLDER | {"path": "/disk0/p1", "holds": "XFS", "note": None, "mtime": None}
    swap = part | {"path": "/disk0/p2", "holds": "swap", "note": "swap space holds no files"}
    unlocked.lister.listed = [part, swap]
    lines = unlocked.run("point", "ls", "latest", "--item", "etc").out.splitlines()
    assert [line.split(" /", 1)[1] for line in lines] == [
        "disk0/p1  (XFS)", "disk0/p2  (swap: swap space holds no files)",
    ]  # fmt: skip


def test_without_a_key_or_a_passphrase_ls_is_refused(world: World) -> None:
    world.server.on("GET /points/latest", Answer(body=POINT))
    ran = world.run("--json", "point", "ls", "latest", "--item", "etc")
    assert (ran.code, ran.json["error"]["code"], world.lister.asked) == (5, "key-missing", [])


def test_a_passphrase_file_is_enough(world: World) -> None:
    world.server.on("GET /points/latest", Answer(body=POINT))
    assert world.run("--json", "point", "ls", "latest", "--item", "etc", "--passphrase-file", "f").json["entries"] == []
    assert (world.lister.asked[0].key_file, world.lister.asked[0].passphrase_file) == (None, "f")


def test_a_list_that_fails_at_once_is_an_error_document(unlocked: World) -> None:
    unlocked.lister.listed, unlocked.lister.fails = [], SkyharborError("path-not-in-point", "/nope")
    ran = unlocked.run("--json", "point", "ls", "latest", "/nope", "--item", "etc")
    assert (ran.code, ran.json["error"]["code"]) == (4, "path-not-in-point")


def test_a_list_that_breaks_later_stays_one_document_and_fails(unlocked: World) -> None:
    unlocked.lister.fails = SkyharborError("object-damaged", "packs/m/xx")
    ran = unlocked.run("--json", "point", "ls", "latest", "--item", "etc")
    assert ran.code == 1
    assert ran.json["entries"][-1]["error"]["code"] == "object-damaged"


def test_a_plan_counts_and_makes_no_job(unlocked: World) -> None:
    plan = unlocked.run("--json", "restore", "latest", "/etc", "--item", "etc", "--to", "/t", "--plan").json["plan"]
    assert {name: plan[name] for name in ("files", "directories", "bytes", "target", "paths")} == {
        "files": 2,
        "directories": 1,
        "bytes": 139,
        "target": "/t",
        "paths": ["/etc"],
    }
    assert [request.method for request in unlocked.server.requests] == ["GET"]


LISTING = Listing("memory://x", MACHINE, "etc", "p", "/etc", key_file="/k")


def reader(tmp_path: Path, program: str) -> BreakGlass:
    """A lister that runs this program as the reader."""
    file = tmp_path / "reader.py"
    file.write_text(program)
    return BreakGlass((sys.executable, str(file)))


def test_the_reader_is_asked_in_its_own_words(tmp_path: Path) -> None:
    lister = reader(tmp_path, "import json, sys\nprint(json.dumps({'path': sys.argv[1:]}))")
    assert list(lister.entries(LISTING)) == [
        {
            "path": ["ls", "--store", "memory://x", "--machine", MACHINE, "--key-file", "/k", "--item", "etc",
                     "--point", "p", "--json", "/etc"],
        }
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("program", "code"),
    [
        ("print({doc!r}); sys.exit(4)", "path-not-in-point"),
        ("sys.stderr.write('error: no such path\\n'); sys.exit(4)", "path-not-in-point"),
        ("sys.exit(6)", "store-unreachable"),
        ("raise RuntimeError('boom')", "internal"),
    ],
)
def test_the_readers_failure_is_ours(tmp_path: Path, program: str, code: str) -> None:
    doc = json.dumps({"error": {"code": "path-not-in-point", "message": "/etc"}})
    lister = reader(tmp_path, "import sys\n" + program.replace("{doc!r}", repr(doc)))
    with pytest.raises(SkyharborError) as caught:
        list(lister.entries(LISTING))
    assert caught.value.code == code


def test_a_list_that_nobody_reads_on_ends_the_reader(tmp_path: Path) -> None:
    entries = reader(tmp_path, 'while True: print(\'{"path": "/"}\', flush=True)').entries(LISTING)
    assert isinstance(entries, Generator)
    assert next(entries) == {"path": "/"}
    entries.close()  # returns only once the program has ended
