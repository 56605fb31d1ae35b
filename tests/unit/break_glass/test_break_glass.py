"""The program that has nothing but the vault and the passphrase."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from shared.clock import SystemClock
from shared.crypto.domain_keys import new_dek
from shared.crypto.keyring import Keyring
from shared.crypto.slots import seal_slot
from shared.model.ids import new_id
from shared.vault.fences import put_fence
from shared.vault.layout import PointName
from tests.support.mounts import image
from tests.unit.break_glass.conftest import MTIME, PASSPHRASE, Glass
from workers.break_glass.program import main
from workers.break_glass.restoring import watched
from workers.engine.ports import Stop

FILES = {b"a.txt": b"alpha", b"sub.d/x": b"", b"z\xff\x1b[2J": b"odd name"}
ITEM, OTHER_ITEM = new_id(), new_id()


def tree_of(vault: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in vault.rglob("*") if path.is_file()}


def cards(glass: Glass) -> list[Path]:
    return list((glass.folder / "vault" / "machines").iterdir())


def test_list_names_every_point_oldest_first(glass: Glass) -> None:
    first = glass.seal(ITEM, "docs", FILES)
    second = glass.seal(OTHER_ITEM, "photos", FILES)
    third = glass.seal(ITEM, "docs", FILES)
    ran = glass.run("list", "--json")
    points = ran.documents[0]["points"]
    assert (ran.code, len(ran.documents), ran.err) == (0, 1, "")
    assert [(point["id"], point["item"]) for point in points] == [
        (first, "docs"), (second, "photos"), (third, "docs"),
    ]  # fmt: skip
    assert points[0] == {
        "id": first, "item": "docs", "item_id": ITEM, "machine": "m1", "machine_id": glass.machine_id, "type": "full",
        "reference": None, "sealed_at": "2026-11-22T10:00:05+00:00", "files": 4, "bytes": 13, "warnings": 0,
    }  # fmt: skip
    of_item = glass.run("list", "--item", "photos")
    assert (second in of_item.out, first in of_item.out) == (True, False)


def test_ls_prints_one_object_per_entry_in_order(glass: Glass) -> None:
    glass.seal(ITEM, "docs", FILES)
    ran = glass.run("ls", "--json")
    assert [document["path"] for document in ran.documents] == [
        "/data", "/data/a.txt", "/data/sub.d/x", "/data/z\\xff\x1b[2J", "/data/~link",
    ]  # fmt: skip
    assert ran.documents[1] == {
        "path": "/data/a.txt", "type": "file", "mode": 0o640, "uid": 1, "gid": 2, "size": 5,
        "mtime": "2020-09-13T12:26:40.123456789Z", "target": None,
    }  # fmt: skip
    assert (ran.documents[-1]["type"], ran.documents[-1]["target"]) == ("symlink", "a.txt")


def test_ls_of_paths_shows_them_and_what_is_below(glass: Glass) -> None:
    glass.seal(ITEM, "docs", FILES)
    ran = glass.run("ls", "/data/a.txt", "--json", "//data/sub.d/x/")
    assert [document["path"] for document in ran.documents] == ["/data/a.txt", "/data/sub.d/x"]


def test_names_in_a_listing_cannot_command_the_terminal(glass: Glass) -> None:
    glass.seal(ITEM, "docs", FILES)
    ran = glass.run("ls")
    assert ("\x1b" in ran.out, "/data/z\\xff\\x1b[2J" in ran.out) == (False, True)


def test_a_name_that_the_terminal_has_no_letters_for_does_not_end_the_list(
    glass: Glass, monkeypatch: pytest.MonkeyPatch
) -> None:
    glass.seal(ITEM, "docs", {"é".encode(): b"1", b"zz": b"2"})
    ascii_only = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", ascii_only)
    code = main(["ls", "--store", glass.url, "--machine", "m1", "--key-file", glass.key_file()])
    ascii_only.flush()
    shown = ascii_only.buffer.getvalue().decode()  # type: ignore[attr-defined]
    assert (code, "/data/\\xe9\n" in shown, "/data/zz\n" in shown) == (0, True, True)


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (["ls", "/data/nothing"], 4, "path-not-in-point"),
        (["ls", "relative"], 2, "bad-request"),
        (["ls", "/data/../etc"], 2, "bad-request"),
        (["ls", "--item", "nothing"], 4, "not-found"),
        (["ls", "--point", "01234567-none"], 4, "not-found"),
        (["ls", "--nonsense"], 2, "bad-request"),
        (["ls", "--passphrase-file", "x"], 2, "bad-request"),
        (["restore"], 2, "bad-request"),
        (["restore", "--to", "x", "--conflict", "perhaps"], 2, "bad-request"),
        (["restore", "--to", "x", "/data/nothing"], 4, "path-not-in-point"),
    ],
)
def test_a_wrong_request_ends_with_its_exit_code_and_one_document(
    glass: Glass, arguments: list[str], code: int, word: str
) -> None:
    glass.seal(ITEM, "docs", FILES)
    ran = glass.run(*arguments, "--json")
    assert (ran.code, [document["error"]["code"] for document in ran.documents]) == (code, [word])  # type: ignore[index]
    assert word in ran.err
    assert not Path("x").exists()


def test_the_latest_of_several_items_has_to_be_said(glass: Glass) -> None:
    glass.seal(ITEM, "docs", FILES)
    glass.seal(OTHER_ITEM, "photos", {b"p": b"x"})
    unclear = glass.run("ls")
    clear = glass.run("ls", "--item", "docs", "/data/a.txt")
    assert (unclear.code, "docs, photos" in unclear.err, clear.code) == (2, True, 0)


def test_a_manifest_behind_a_fence_is_neither_listed_nor_the_latest_point(glass: Glass) -> None:
    first = glass.seal(ITEM, "docs", {b"old": b"1"})
    late = glass.seal(ITEM, "docs", {b"late": b"2"})
    put_fence(glass.vault.store, PointName(glass.machine_id, ITEM, late), SystemClock())
    listed = glass.run("list", "--json").documents[0]["points"]
    assert [point["id"] for point in listed] == [first]  # type: ignore[index, union-attr, attr-defined]
    assert (glass.run("ls", "/data/old").code, glass.run("ls", "--point", late).code) == (0, 4)


def test_a_point_is_found_by_the_beginning_of_its_id(glass: Glass) -> None:
    point = glass.seal(ITEM, "docs", FILES)
    assert [glass.run("ls", "--point", point[:length]).code for length in (36, 20, 8, 7)] == [0, 0, 0, 4]


@pytest.mark.parametrize("passphrase", ["another sixteen characters", "short", ""])
def test_a_wrong_passphrase_is_refused_and_writes_nothing(glass: Glass, passphrase: str) -> None:
    glass.seal(ITEM, "docs", FILES)
    before = tree_of(glass.folder / "vault")
    ran = glass.run("restore", "--to", str(glass.folder / "out"), passphrase=passphrase)
    assert (ran.code, "(wrong-passphrase)" in ran.err) == (5, True)
    assert ((glass.folder / "out").exists(), tree_of(glass.folder / "vault") == before) == (False, True)


def test_nobody_to_ask_for_the_passphrase_is_a_usage_error(glass: Glass) -> None:
    assert glass.run_bare("list").code == 2


def test_a_store_without_a_vault_is_no_such_thing(glass: Glass) -> None:
    (glass.folder / "vault" / "vault.json").unlink()
    ran = glass.run("list")
    assert (ran.code, "vault-missing" in ran.err) == (4, True)


def test_an_unknown_machine_is_told_with_those_that_are_there(glass: Glass) -> None:
    ran = glass.run("list", machine="m2")
    assert (ran.code, "there: m1" in ran.err) == (4, True)


def test_a_machine_is_found_by_its_id_when_two_share_a_name(glass: Glass) -> None:
    glass.seal(ITEM, "docs", FILES)
    twin = new_id()
    glass.vault.put_machine_card(twin, "m1", [seal_slot(new_dek(), PASSPHRASE, machine_id=twin)])
    assert (glass.run("list").code, glass.run("list", machine=glass.machine_id).code) == (2, 0)


def test_without_a_machine_card_the_slots_of_the_points_open_it(glass: Glass) -> None:
    glass.seal(ITEM, "docs", FILES)
    for card in cards(glass):
        card.unlink()
    ran = glass.run("ls", machine=glass.machine_id, passphrase=PASSPHRASE)
    assert (ran.code, "/data/a.txt" in ran.out) == (0, True)


def test_a_forged_machine_card_does_not_lock_the_owner_out(glass: Glass) -> None:
    glass.seal(ITEM, "docs", FILES)
    forged = seal_slot(new_dek(), "passphrase of somebody else", machine_id=glass.machine_id)
    glass.vault.put_machine_card(glass.machine_id, "m1", [forged])
    codes = [glass.run("ls", passphrase=word).code for word in (PASSPHRASE, "passphrase of somebody else")]
    assert codes == [0, 1]


def test_a_key_file_opens_without_a_passphrase(glass: Glass) -> None:
    glass.seal(ITEM, "docs", FILES)
    ran = glass.run_bare("ls", "--key-file", glass.key_file())
    assert (ran.code, "/data/a.txt" in ran.out) == (0, True)


def test_the_key_file_of_another_machine_is_refused(glass: Glass) -> None:
    Keyring(str(glass.folder / "others")).put("m2", new_dek())
    ran = glass.run_bare("list", "--key-file", str(glass.folder / "others" / "m2.key"))
    assert (ran.code, "key-missing" in ran.err) == (5, True)


def test_a_damaged_manifest_is_a_warning_beside_the_points_that_can_be_read(glass: Glass) -> None:
    good, bad = glass.seal(ITEM, "docs", FILES), glass.seal(ITEM, "docs", FILES)
    path = next((glass.folder / "vault" / "points").rglob(bad))
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:-1])
    listed = glass.run("list", "--json")
    assert (listed.code, [point["id"] for point in listed.documents[0]["points"]]) == (3, [good])  # type: ignore[union-attr, index]
    assert (bad in listed.err, glass.run("ls").code, glass.run("ls", "--point", good).code) == (True, 1, 0)


def _damage_manifest(glass: Glass, point: str) -> None:
    path = next((glass.folder / "vault" / "points").rglob(point))
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:-1])


def test_an_item_whose_manifests_are_all_damaged_is_not_said_to_be_missing(glass: Glass) -> None:
    glass.seal(OTHER_ITEM, "photos", FILES)
    bad = glass.seal(ITEM, "docs", FILES)
    _damage_manifest(glass, bad)
    for command in (["list", "--item", "docs"], ["ls", "--item", "docs"]):
        ran = glass.run(*command)
        assert (ran.code, "object-damaged" in ran.err, bad in ran.err) == (1, True, True)
    assert ITEM in glass.run("ls").err  # it asks for one of the items, this one by its id


def test_a_point_of_another_item_than_the_one_given_is_not_found(glass: Glass) -> None:
    glass.seal(OTHER_ITEM, "photos", FILES)
    point = glass.seal(ITEM, "docs", FILES)
    codes = [glass.run("ls", "--point", point, "--item", item).code for item in ("docs", ITEM, "photos", "nothing")]
    assert codes == [0, 0, 4, 4]


def test_a_lost_vault_header_is_told_and_stops_nothing(glass: Glass) -> None:
    glass.seal(ITEM, "docs", FILES)
    (glass.folder / "vault" / "vault.json").unlink()
    ran = glass.run("ls")
    assert (ran.code, "vault.json is missing" in ran.err) == (0, True)


def test_the_passphrase_alone_brings_back_everything_and_it_is_said(glass: Glass) -> None:
    point = glass.seal(ITEM, "docs", {b"a.txt": b"alpha", b"empty": b""})
    ran = glass.run("restore", "--to", str(glass.folder / "out"), "--json", passphrase=PASSPHRASE)
    document = ran.documents[0]
    out = glass.folder / "out" / "data"
    assert ((out / "a.txt").read_bytes(), (out / "empty").read_bytes(), os.readlink(out / "~link")) == (
        b"alpha",
        b"",
        "a.txt",
    )
    assert os.stat(out / "a.txt").st_mtime_ns == MTIME
    assert (ran.code, document["state"], document["point"], document["item"]) == (0, "completed", point, "docs")
    assert (document["stats"]["files_restored"], document["stats"]["bytes_restored"]) == (3, 5)  # type: ignore[index]


def test_restore_of_a_path_brings_back_only_that(glass: Glass) -> None:
    glass.seal(ITEM, "docs", {b"a.txt": b"alpha", b"b.txt": b"beta"})
    ran = glass.run("restore", "/data/b.txt", "--to", str(glass.folder / "out"))
    assert (ran.code, os.listdir(glass.folder / "out" / "data")) == (0, ["b.txt"])


def test_restore_follows_the_conflict_rule(glass: Glass) -> None:
    glass.seal(ITEM, "docs", {b"a.txt": b"alpha"})
    there = glass.folder / "out" / "data" / "a.txt"
    there.parent.mkdir(parents=True)
    contents = []
    for rule in ("skip", "overwrite"):
        there.write_bytes(b"mine")
        assert glass.run("restore", "--to", str(glass.folder / "out"), "--conflict", rule).code == 0
        contents.append(there.read_bytes())
    assert contents == [b"mine", b"alpha"]


def test_restore_of_a_vault_with_a_lost_pack_warns_and_names_the_file(glass: Glass) -> None:
    glass.seal(ITEM, "docs", {b"kept": b"kept" * 100})
    before = set((glass.folder / "vault" / "packs" / "d").rglob("*"))
    glass.seal(ITEM, "docs", {b"kept": b"kept" * 100, b"lost": b"lost" * 100})
    for pack in set((glass.folder / "vault" / "packs" / "d").rglob("*")) - before:
        if pack.is_file():
            pack.unlink()
    ran = glass.run("restore", "--to", str(glass.folder / "out"))
    assert (ran.code, "/data/lost" in ran.err) == (3, True)
    assert ((glass.folder / "out/data/kept").read_bytes(), (glass.folder / "out/data/lost").exists()) == (
        b"kept" * 100,
        False,
    )


@pytest.mark.parametrize("kind", ["d", "m"])
def test_a_restore_that_damage_left_with_nothing_is_a_failure(glass: Glass, kind: str) -> None:
    glass.seal(ITEM, "docs", {b"lost": b"lost" * 100})
    for pack in (glass.folder / "vault" / "packs" / kind).rglob("*"):
        if pack.is_file():
            pack.unlink()
    ran = glass.run("restore", "/data/lost", "--to", str(glass.folder / "out"), "--json")
    assert (ran.code, ran.documents[0]["state"]) == (1, "failed")


def test_the_first_ctrl_c_stops_the_restore_and_the_second_the_program() -> None:
    before = signal.getsignal(signal.SIGINT)
    with watched() as control:
        control.check()
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(Stop):
            control.check()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_the_program_needs_nothing_of_the_control_plane() -> None:
    script = (
        "import sys, workers.break_glass.program, workers.engine.restore;"
        "print([m for m in sys.modules if m.split('.')[0] in"
        " ('orchestrator', 'celery', 'kombu', 'redis', 'sqlalchemy', 'psycopg', 'fastapi', 'httpx', 'obstore')])"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"


def test_a_reader_that_has_seen_enough_is_no_failure_worth_a_traceback(glass: Glass) -> None:
    glass.seal(ITEM, "docs", {b"%05d" % number: b"" for number in range(5000)})
    (glass.folder / "passphrase").write_text(PASSPHRASE)
    command = [sys.executable, "-m", "workers.break_glass", "ls", "--store", glass.url, "--machine", "m1"]
    command += ["--passphrase-file", str(glass.folder / "passphrase")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""


def test_what_the_target_cannot_hold_is_listed_and_counted_and_the_exit_code_is_3(glass: Glass) -> None:
    glass.seal(ITEM, "docs", FILES)
    with image("ext2", glass.folder / "old", make=["-q", "-I", "128"]) as old:  # it counts whole seconds
        ran = glass.run("restore", "--to", f"{old}/out", "--json")
        assert Path(f"{old}/out/data/a.txt").read_bytes() == b"alpha"
    [done] = ran.documents
    assert (ran.code, done["stats"]["warnings"], done["stats"]["files_restored"]) == (3, 5, 4)
    assert {(warning["path"], warning["code"], warning["message"]) for warning in done["warnings"]} == {
        (path, "metadata-not-kept", "times")
        for path in ("/data/a.txt", "/data/z\\xff\x1b[2J", "/data/sub.d/x", "/data/~link", "/data")
    }
