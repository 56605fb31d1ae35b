"""Several requests to the store in flight at once, for as long as the unit may go on.

Rule of the file: no step of a collection waits for one request at a time, and none goes on long after it was told to
stop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

_AT_ONCE = 8
_WINDOW = 64

_Thing = TypeVar("_Thing")
_Answer = TypeVar("_Answer")


def abreast(
    things: Iterable[_Thing], call: Callable[[_Thing], _Answer], *, check: Callable[[], None]
) -> Iterator[tuple[_Thing, _Answer]]:
    """Yield every thing with what the call made of it, in order; ``check`` may end it before every few of them.

    What a call raises is raised when its turn comes, once those that have begun have ended.
    """
    rest = iter(things)
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="collect") as threads:
        while window := list(islice(rest, _WINDOW)):
            check()
            yield from zip(window, list(threads.map(call, window)), strict=True)
