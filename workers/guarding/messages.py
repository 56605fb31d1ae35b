"""What a worker tells its guard: one JSON object per line.

Rule of the file: both ends are the same program on the same machine.
"""

from __future__ import annotations

import msgspec


class Arm(msgspec.Struct, frozen=True, kw_only=True, tag="arm", tag_field="do"):
    """Have a deed done when the line ends, or after ``within`` seconds; answered with ``Armed``."""

    number: int
    kind: str
    details: dict[str, str]
    within: float | None = None


class Disarm(msgspec.Struct, frozen=True, kw_only=True, tag="disarm", tag_field="do"):
    """Nothing is left to undo. Not answered: what was sent before a worker died is read before its end is noticed."""

    number: int


class Armed(msgspec.Struct, frozen=True, kw_only=True):
    """The guard has it."""

    number: int


Order = Arm | Disarm
