"""What this machine calls its users and groups: a restore elsewhere may want names where numbers mean somebody else.

Rule of the file: a name that cannot be found out is left out; a directory service that fails stops no backup.
"""

from __future__ import annotations

import grp
import pwd
from collections.abc import Callable, Iterable


def names_of(uids: Iterable[int], gids: Iterable[int]) -> tuple[dict[str, str], dict[str, str]]:
    """Return user names and group names by the decimal text of their number."""
    return (
        _found(uids, lambda number: pwd.getpwuid(number).pw_name),
        _found(gids, lambda number: grp.getgrgid(number).gr_name),
    )


def _found(numbers: Iterable[int], ask: Callable[[int], str]) -> dict[str, str]:
    found = {}
    for number in sorted(set(numbers)):
        try:
            found[str(number)] = ask(number)
        except (KeyError, OSError, OverflowError):
            continue
    return found
