"""What a real mariabackup sends is, file for file and byte for byte, what its own program unpacks."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support.mariadb import MariaDb, mariadb, needs_mariadb
from tests.unit.sources.mysql.streams import as_unpacked
from tests.workloads.mysql.test_physical import changing, fill

pytestmark = [needs_mariadb, pytest.mark.timeout(600)]


def streamed(db: MariaDb, *more: str) -> bytes:
    """The stream of a backup; mariabackup gives some up while tables change, so it is asked again."""
    for _ in range(20):
        command = ["mariabackup", "--no-defaults", "--backup", "--stream=mbstream", "--user=root", *more]
        done = subprocess.run(
            [*command, f"--socket={db.socket}", f"--target-dir={db.folder}/nowhere"],
            capture_output=True,
            timeout=120,
            check=False,
        )
        if done.returncode == 0:
            return done.stdout
    raise AssertionError(done.stderr.decode()[-2000:])


def unpacked(stream: bytes, folder: Path) -> dict[str, bytes]:
    folder.mkdir()
    subprocess.run(["mbstream", "-x", "-C", str(folder)], input=stream, check=True, timeout=120)
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("parallel", [1, 4])
def test_a_stream_is_unraveled_as_mbstream_unpacks_it(tmp_path: Path, parallel: int) -> None:
    with mariadb() as db:
        fill(db)
        full = streamed(db, f"--parallel={parallel}")
        lsn = db.ask("SHOW GLOBAL STATUS LIKE 'Innodb_lsn_last_checkpoint'")[0][1]
        db.ask("UPDATE d.pairs SET pad = 'x' WHERE id < 900")
        increment = streamed(db, f"--incremental-lsn={lsn}", f"--parallel={parallel}")
        with changing(db, "InnoDB", "MyISAM", "Aria"):
            wild = streamed(db, f"--parallel={parallel}")
    for number, stream in enumerate((full, increment, wild)):
        assert as_unpacked(stream, tmp_path) == unpacked(stream, tmp_path / str(number))
