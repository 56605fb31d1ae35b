"""What a restored data directory needs besides its files, to replay its log up to the target and then open.

The log is put into ``pg_wal`` itself: PostgreSQL looks there after ``restore_command``, which therefore is one that
never has anything. Nothing of the restore is needed once the cluster is open.

Rule of the file: texts only.
"""

from __future__ import annotations

from collections.abc import Mapping

from workers.sources.postgres.targets import Target

_TARGETS = (
    "recovery_target",
    "recovery_target_lsn",
    "recovery_target_name",
    "recovery_target_time",
    "recovery_target_xid",
)


def recovery_settings(target: Target) -> bytes:
    """Return the lines for the end of ``postgresql.auto.conf``: they win over older ones of the same names."""
    lines = [
        "# A restore's, of no effect once the cluster is open.",
        "restore_command = 'false'",
        "recovery_target_timeline = 'current'",
        "recovery_target_action = 'promote'",
        "recovery_target_inclusive = 'on'",
    ]
    # The one that counts comes last: PostgreSQL minds any other after it, an empty one too.
    lines += [f"{name} = ''" for name in _TARGETS if name != target.setting]
    if target.setting:
        lines.append(f"{target.setting} = {_quoted(target.value)}")
    return ("\n" + "\n".join(lines) + "\n").encode()


def plain_configuration(settings: Mapping[str, str]) -> bytes:
    """Return a ``postgresql.conf`` for a cluster whose own lies outside of its data directory."""
    lines = [
        "# Made by a restore: the cluster's own configuration is not in its data directory.",
        "# The following must be at least as large as they were, or the log cannot be replayed.",
        *(f"{name} = {_quoted(value)}" for name, value in sorted(settings.items())),
    ]
    return ("\n".join(lines) + "\n").encode()


PLAIN_ACCESS = b"# Made by a restore: the cluster's own pg_hba.conf is not in its data directory.\nlocal all all peer\n"


def label_of_combined(label: bytes) -> bytes:
    """Return a backup label without what makes it one of an increment."""
    return b"".join(line for line in label.splitlines(keepends=True) if not line.startswith(b"INCREMENTAL FROM "))


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
