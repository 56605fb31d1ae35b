"""The ways to what is protected, as the engine is given them.

Rule of the file: values only; who opens what is the sources' own list.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from shared.vault.point import PointBody
from workers.engine.ports import Session, Source


@dataclass(frozen=True, slots=True)
class Doors:
    """``open_session`` takes what the point to compare with says about itself, None for a full backup."""

    open_session: Callable[[PointBody | None], Session]
    open_source: Callable[[bytes], Source]
