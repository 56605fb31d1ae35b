"""What a real mariabackup sends is, file for file and byte for byte, what its own program unpacks."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from shared.errors import SkyharborError
from tests.support.mariadb import MariaDb, mariadb, needs_mariadb
from tests.unit.sources.mysql.streams import as_unpacked, end, payload
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


def unpacked(stream: bytes, folder: Path) -> dict[str, bytes] | None:
    """What its own program makes of a stream; None when it refuses it, which its exit code does not tell."""
    folder.mkdir()
    argv = ["mbstream", "-x", "-C", str(folder)]
    done = subprocess.run(argv, input=stream, capture_output=True, check=True, timeout=120)
    if b"failed to create file" in done.stderr:
        return None
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
    for number, stream in enumerate((full, increment)):
        assert as_unpacked(stream, tmp_path) == unpacked(stream, tmp_path / str(number))
    # Of a table that is replaced in the wrong moment mariabackup sends a file twice, and is content. Nobody can unpack
    # that: it has to be refused, and the backup to begin again.
    as_it_is = unpacked(wild, tmp_path / "wild")
    if as_it_is is None:
        with pytest.raises(SkyharborError, match="twice"):
            as_unpacked(wild, tmp_path)
    else:
        assert as_unpacked(wild, tmp_path) == as_it_is


def test_a_file_that_is_sent_twice_is_refused_here_as_by_mbstream(tmp_path: Path) -> None:
    path = b"d/pairs.MYD"
    stream = payload(path, 0, b"first") + end(path) + payload(path, 0, b"second") + end(path)
    assert unpacked(stream, tmp_path / "unpacked") is None
    with pytest.raises(SkyharborError, match="twice"):
        as_unpacked(stream, tmp_path)
