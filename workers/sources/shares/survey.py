"""A quick look at the upper folders of a far tree: where it may be cut into parts.

Rule of the file: a hint. What cannot be read is passed over: the scan will tell.
"""

from __future__ import annotations

import stat
from collections import deque

from shared.vault.entry import sort_key
from workers.engine.ports import Survey, Unreadable
from workers.sources.excludes import Excludes
from workers.sources.shares.listing import Asked, Listing

_AHEAD = 16


def survey(listing: Listing, top: bytes, excludes: Excludes, *, most: int) -> Survey:
    """List ``most`` folders at most at and below ``top``, upper ones first."""
    waiting, asked = deque([top]), deque[tuple[bytes, Asked]]()
    listed: list[tuple[bytes, int]] = []
    while (waiting or asked) and len(listed) < most:
        while waiting and len(asked) < min(_AHEAD, most - len(listed)):
            asked.append((waiting[0], listing.ask(waiting.popleft())))
        folder, answer = asked.popleft()
        entries, below = _listed(folder, answer, excludes)
        if folder:
            listed.append((folder, entries))
        waiting.extend(below)
    for folder, answer in asked:
        answer.drop()
        waiting.append(folder)
    met = [*listed, *((folder, 0) for folder in waiting if folder)]
    return Survey(sorted(met, key=lambda one: sort_key(one[0])), cut_off=bool(waiting))


def _listed(folder: bytes, answer: Asked, excludes: Excludes) -> tuple[int, list[bytes]]:
    try:
        rows = answer.listed().rows
    except Unreadable:
        return 0, []
    prefix = folder + b"/" if folder else b""
    kept = [
        (prefix + name, stat.S_ISDIR(info.st_mode))
        for name, info in rows
        if not excludes.cover(b"/" + prefix + name, directory=stat.S_ISDIR(info.st_mode))
    ]
    return len(kept), sorted(path for path, directory in kept if directory)
