"""The one Celery task of the data plane.

Rule of the file: decode the doorbell, hand it on, return. No arguments but ids, no result, no retry.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog
from celery import Celery

from shared.contracts.work import Doorbell

log = structlog.get_logger()


def register(app: Celery, *, name: str, answer: Callable[[Doorbell], bool]) -> None:
    """Put the task ``name`` on ``app``; it runs the unit in the pool's thread and returns what happened in one word."""

    @app.task(name=name, ignore_result=True)
    def unit(job_id: str, epoch: int, no: int) -> str:
        flown = answer(Doorbell(job_id=job_id, epoch=epoch, unit=no))
        log.info("doorbell-answered", job=job_id, epoch=epoch, unit=no, flown=flown)
        return "flown" if flown else "nothing to claim"
