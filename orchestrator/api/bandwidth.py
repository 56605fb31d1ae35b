"""Bandwidth plans on the wire.

Rule of the file: shapes only; what makes sense is the domain's to say.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from orchestrator.api.edge import Received, Text
from shared.model.bandwidth import UNLIMITED, BandwidthPlan, BandwidthWindow, Day

Rate = Annotated[int, Field(ge=0, le=1 << 62)]
"""Bytes per second; 0 is unlimited."""


class WindowIn(Received):
    """Other limits from ``start`` to ``end`` (HH:MM, local time of ``zone``) on ``days``; null is as outside."""

    days: list[Day]
    start: Text
    end: Text
    zone: Text
    upload: Rate | None = None
    download: Rate | None = None


class PlanIn(Received):
    """How fast each machine may use the vault; the first open window decides."""

    upload: Rate = 0
    download: Rate = 0
    windows: Annotated[list[WindowIn], Field(default_factory=list)]

    def plan(self) -> BandwidthPlan:
        """Return the plan, unchecked."""
        windows = tuple(
            BandwidthWindow(
                days=tuple(dict.fromkeys(window.days)),
                start=window.start,
                end=window.end,
                zone=window.zone,
                upload=window.upload,
                download=window.download,
            )
            for window in self.windows
        )
        return BandwidthPlan(upload=self.upload, download=self.download, windows=windows)


class WindowOut(BaseModel):
    """A window of a plan."""

    days: list[Day]
    start: str
    end: str
    zone: str
    upload: int | None
    download: int | None


class PlanOut(BaseModel):
    """How fast each machine may use a vault, in bytes per second; 0 is unlimited, null in a window as outside."""

    upload: int
    download: int
    windows: list[WindowOut]


def plan_out(plan: BandwidthPlan) -> PlanOut | None:
    """Return a plan as it goes out; null when nothing is limited."""
    if plan == UNLIMITED:
        return None
    windows = [
        WindowOut(
            days=list(window.days),
            start=window.start,
            end=window.end,
            zone=window.zone,
            upload=window.upload,
            download=window.download,
        )
        for window in plan.windows
    ]
    return PlanOut(upload=plan.upload, download=plan.download, windows=windows)
