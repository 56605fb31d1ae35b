"""Items with rules, and what the doctor foretells of them, through the command line of a running stack."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.support.fleet import Fleet, make_tree

pytestmark = pytest.mark.stack

TAG = b"Signature: 8a477f597d28d172789f06886806bc55"


def _predicted(fleet: Fleet, item: str) -> Any:
    found = {check["check"]: check.get("prediction") for check in fleet.stack.ask("doctor")["checks"]}
    return found.get(f"item {item}")


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_what_the_rules_leave_out_is_in_no_point_and_is_no_warning(shared_fleet: Fleet, tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "src", files=5)
    for name, data in (("cache/CACHEDIR.TAG", TAG), ("cache/x", b"x"), ("work/.nobackup", b""), ("work/x", b"x")):
        path = tree / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
    (tree / "large").write_bytes(os.urandom(1_000_001))
    stack = shared_fleet.stack
    stack.ask(
        "item", "add", "files", "ruled", "--machine", "m1", "--vault", "v1", "--path", str(tree),
        "--exclude-caches", "--exclude-if-present", ".nobackup", "--exclude-larger-than", "1MB",
        "--exclude-nodump", "--one-file-system", "--exclude", "*.o",
    )  # fmt: skip
    shown = stack.ask("item", "show", "ruled")["source"]["rules"]
    assert (shown["larger_than"], shown["if_present"]) == (1_000_000, [".nobackup"])
    job = stack.ask("backup", "ruled", "--wait")
    stack.ask("restore", job["point"], "--to", str(tmp_path / "out"), "--wait")
    out = tmp_path / "out" / str(tree).lstrip("/")
    missing = {str(path.relative_to(tree)) for path in tree.rglob("*")} - {
        str(path.relative_to(out)) for path in out.rglob("*")
    }
    assert missing == {"cache/x", "work/x", "large"}
    assert (job["stats"]["excluded"], job["stats"]["warnings"]) == (3, 0)
    assert "excluded" in stack.run("job", "show", job["id"]).out


def test_the_doctor_foretells_what_the_first_backup_then_takes(shared_fleet: Fleet, tmp_path: Path) -> None:
    tree = tmp_path / "src"
    tree.mkdir()
    for number in range(400):
        (tree / f"{number}.bin").write_bytes(os.urandom(12_000))
    shared_fleet.protect("foretold", tree)
    cache, vault = shared_fleet.stack.home / "worker" / "cache", shared_fleet.folder / "vault"
    parts = [vault / part for part in ("index", "packs/m", "points")]
    before = [_bytes(cache), sum(map(_bytes, parts))]
    predicted = _predicted(shared_fleet, "foretold")
    job = shared_fleet.stack.ask("backup", "foretold", "--wait")
    shared_fleet.stack.ask("verify", "latest", "--item", "foretold", "--wait")  # loads the index, and so caches it
    taken = [_bytes(cache) - before[0], sum(map(_bytes, parts)) - before[1]]
    assert 0.5 <= predicted["cache_bytes"] / taken[0] <= 2
    assert 0.5 <= predicted["metadata_bytes"] / taken[1] <= 2
    assert taken[0] <= job["stats"]["bytes_scanned"] / 100
    assert _predicted(shared_fleet, "foretold") is None  # it is known now
