"""What tells this machine, as long as it runs, from every other one."""

from __future__ import annotations

_BOOT = "/proc/sys/kernel/random/boot_id"


def this_boot() -> str:
    """Return what tells this machine, as long as it runs, from every other one; empty where nobody says."""
    try:
        with open(_BOOT, encoding="ascii") as told:
            return told.read().strip()
    except OSError:
        return ""
