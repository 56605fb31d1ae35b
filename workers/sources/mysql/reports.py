"""What mariabackup says about a backup that it made: in small files of its stream, and in its log.

Rule of the file: text in, values out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from shared.errors import SkyharborError
from workers.sources.mysql.chain import Place
from workers.sources.mysql.child import last_words
from workers.sources.mysql.server import GRANTS

CHECKPOINTS: Final = frozenset({b"xtrabackup_checkpoints", b"mariadb_backup_checkpoints"})
INFO_FILES: Final = frozenset({b"xtrabackup_info", b"mariadb_backup_info"})
REPORTS: Final = CHECKPOINTS | INFO_FILES
"""Since 11.1 they are called after the program."""

HOLDING: Final = (b"BACKUP STAGE BLOCK", b"FLUSH TABLES WITH READ LOCK")
"""What it says when it is about to stop commits, or more."""

_BINLOG: Final = re.compile(
    r"^binlog_pos = filename '([^']+)', position '(\d+)'(?:, GTID of the last change '([^']*)')?", re.M
)
_LSN: Final = re.compile(r"^(from_lsn|to_lsn) = (\d+)$", re.M)
_LINE: Final = re.compile(r"^\[\d+\] (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) (.*)$", re.M)
_FULL: Final = re.compile(r"no space left|out of disk space|disk is full|\b(?:error|errno|errcode):? 28\b", re.I)
_HELD: Final = "Acquired locks for BACKUP STAGE BLOCK_COMMIT"
_FREED: Final = "Starting BACKUP STAGE END"


def lsns(reports: Mapping[bytes, bytes]) -> tuple[int, int]:
    """Return from which and to which of InnoDB's sequence numbers the backup goes."""
    found = dict(_LSN.findall(_one_of(reports, CHECKPOINTS)))
    if set(found) != {"from_lsn", "to_lsn"}:
        raise SkyharborError("source-failed", "mariabackup did not say where in InnoDB's log its backup ends")
    return int(found["from_lsn"]), int(found["to_lsn"])


def binlog(reports: Mapping[bytes, bytes]) -> tuple[Place | None, str]:
    """Return the place in the log of changes and the GTID; none where the server writes no log."""
    found = _BINLOG.search(_one_of(reports, INFO_FILES))
    return (Place(found[1], int(found[2])), found[3] or "") if found else (None, "")


def moments(said: str, *, begun: float, ended: float) -> tuple[int, int]:
    """Return between which two seconds the server was as the backup has it.

    Commits stand still between two lines of the log, and the place in the log of changes is asked for in between. A
    version that does not say these lines is taken by the backup's beginning and end. The log's times are UTC.
    """
    told = {words: int(_second(when)) for when, words in _LINE.findall(said)}
    before, after = told.get(_HELD, int(begun)), told.get(_FREED, int(ended)) + 1
    return before, max(before, after)


def why_failed(said: str) -> SkyharborError:
    """Return the error for a mariabackup that gave up."""
    lines = [line for line in said.splitlines() if line.strip()]
    telling = [
        line for line in lines if re.search(r"error|denied|privilege|failed|timeout|cannot|mismatch", line, re.I)
    ]
    words = re.sub(r"^\[\d+\] (FATAL ERROR: )?[\d-]+ [\d:]+ ", "", (telling or lines or ["nothing"])[-1]).strip()
    hint = None
    if "privilege" in words or "denied; you need" in words:
        hint = f"Grant what is missing: GRANT {GRANTS} ON *.* TO the account of the item."
    elif "Lock wait timeout" in said or "ock wait timeout" in words:
        words = f"another session kept tables locked for too long: {words}"
        hint = "Look for LOCK TABLES and long ALTER TABLEs in SHOW PROCESSLIST, or back up at another time."
    elif "Permission denied" in said or "errno: 13" in said or "OS error 213" in said:
        hint = "Run the worker as root, or as the user that the server runs as."
    return SkyharborError("source-failed", f"mariabackup gave up: {words}", **({"hint": hint} if hint else {}))


def no_room(said: str) -> str:
    """Return the line that says that a disk is full; empty when there is none."""
    return next((line.strip() for line in said.splitlines() if _FULL.search(line)), "")


def why_not_restored(what: str, said: str) -> SkyharborError:
    """Return the error for a program that gave up, or waits for room, while a data folder is made."""
    if line := no_room(said):
        return SkyharborError("target-full", f"{what}; it said: {line}")
    return SkyharborError("target-invalid", f"{what}; {last_words(said)}")


def _one_of(reports: Mapping[bytes, bytes], names: frozenset[bytes]) -> str:
    for name in names:
        if name in reports:
            return bytes(reports[name]).decode("utf-8", "replace")
    raise SkyharborError("source-failed", f"mariabackup sent no {min(names).decode()}")


def _second(text: str) -> float:
    return datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC).timestamp()
