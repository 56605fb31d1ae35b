"""Asking a tower that may be away: the same call again, for as long as whoever asks may go on.

Rule of the file: only for calls that may be repeated.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from shared.clock import Clock
from shared.errors import SkyharborError

_PAUSE = 0.5

_Answer = TypeVar("_Answer")


def insist(call: Callable[[], _Answer], *, check: Callable[[], None], clock: Clock) -> _Answer:
    """Return the call's answer; ``check`` is asked before every try and ends it by what it raises.

    Raises every refusal of the tower at once.
    """
    while True:
        check()
        try:
            return call()
        except SkyharborError as error:
            if error.code != "server-unreachable":
                raise
        clock.sleep(_PAUSE)
