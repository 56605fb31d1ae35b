"""A snapshot that is mounted for one process is not taken for an empty folder by another."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from shared.contracts.sources import FilesSource
from tests.support.held import NoGuard
from tests.support.trees import IS_ROOT
from workers.engine.ports import Elsewhere
from workers.sources import held_places as module
from workers.sources.files import FilesReading
from workers.sources.held_places import held_places
from workers.sources.opening import borrow, described
from workers.sources.shown import Shown


def reading(place: Path) -> bytes:
    shown = (Shown(b"/data", os.fsencode(place)), Shown(b"/data/left-out", b""))
    return described(FilesReading(source=FilesSource(paths=("/data",)), shown=shown, held=held_places(shown)))


def test_whoever_sees_the_snapshot_reads_it(tmp_path: Path) -> None:
    told = reading(tmp_path)
    with borrow(told, NoGuard()) as own:
        assert own == told


def test_a_folder_without_the_snapshot_is_read_by_nobody(tmp_path: Path) -> None:
    (tmp_path / "place").mkdir()
    told = reading(tmp_path / "place")
    (tmp_path / "place").rename(tmp_path / "mounted")
    (tmp_path / "place").mkdir()
    with pytest.raises(Elsewhere), borrow(told, NoGuard()):
        pass


def test_a_place_of_another_machine_is_read_by_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = reading(tmp_path)
    monkeypatch.setattr(module, "this_boot", lambda: "another")
    with pytest.raises(Elsewhere), borrow(told, NoGuard()):
        pass


def test_files_that_are_read_where_they_are_need_no_such_proof() -> None:
    assert held_places([Shown(b"/data/left-out", b"")]) is None


@pytest.mark.skipif(not IS_ROOT, reason="a mount namespace of its own: needs root")
def test_a_worker_in_another_mount_namespace_does_not_see_it(tmp_path: Path) -> None:
    """It finds the folder on which the snapshot is mounted, and nothing in it: as if all files had been removed."""
    place = tmp_path / "place"
    place.mkdir()
    (tmp_path / "files").mkdir()
    program = (
        "import sys\n"
        "from tests.unit.sources.test_held_places import reading\n"
        "from pathlib import Path\n"
        "sys.stdout.buffer.write(reading(Path(sys.argv[1])))"
    )
    script = 'mount --bind "$1/files" "$1/place" && exec "$2" -c "$3" "$1/place"'
    command = ["unshare", "--mount", "--propagation=private", "sh", "-c", script, "sh"]
    told = subprocess.run(
        [*command, str(tmp_path), sys.executable, program], check=True, capture_output=True, timeout=60
    ).stdout
    with pytest.raises(Elsewhere), borrow(told, NoGuard()):
        pass
