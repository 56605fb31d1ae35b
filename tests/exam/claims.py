"""What is claimed of every source; the names are the columns of the table that a run of the suite prints."""

from __future__ import annotations

from enum import StrEnum


class Claim(StrEnum):
    """One question of the exam."""

    RESTORED = "restored"  # a full backup brings back what was there, and it works
    INCREMENT = "increment"  # the next backup reads what has changed, and its point is whole
    CONSISTENT = "one moment"  # what is written during a backup is not half in the point
    RESUMED = "resumed"  # a backup that broke off is made good by the next one
    CANCELLED = "cancelled"  # ... leaves no point, and nothing at the source
    KILLED = "killed -9"  # ... leaves no point, and nothing at the source
    REFUSED = "refused"  # wrong credentials, or a source that is not there, are said in words that help
    DYING = "server dies"  # a server that dies half-way makes no point
    PROGRESS = "progress"  # it is told where a backup is
