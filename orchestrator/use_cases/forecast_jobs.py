"""Where waiting jobs are in the queue, and when they should start.

Rule of the file: reading only. Only jobs that wait for their turn cost anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from orchestrator.domain.forecast import LONGEST_QUEUE, forecast_starts
from orchestrator.domain.job_states import JobState
from orchestrator.domain.jobs import Job
from orchestrator.use_cases.ports import UnitOfWork


def forecast_jobs(uow: UnitOfWork, jobs: Sequence[Job]) -> Sequence[Job]:
    """Return the jobs with their queue position and expected start, where there is one.

    What waits for a time is expected then; what waits for its turn when everything before it has had its own, unless it
    is farther back than anybody could say.
    """
    asked = [job.id for job in jobs if job.state is JobState.AVAILABLE and job.admitted_at is None]
    positions = uow.admission.positions(asked) if asked else {}
    starts = {job.id: job.due_at for job in jobs if job.state in (JobState.SCHEDULED, JobState.RETRYABLE)}
    if min(positions.values(), default=LONGEST_QUEUE + 1) <= LONGEST_QUEUE:
        queue = uow.admission.queue(limit=min(LONGEST_QUEUE, max(positions.values())))
        room, holders = uow.admission.look(queue), uow.admission.holders(queue)
        starts |= forecast_starts(queue, room=room, holders=holders, now=uow.now())
    return [
        replace(job, queue_position=positions.get(job.id), expected_start_at=starts.get(job.id))
        if job.id in positions or job.id in starts
        else job
        for job in jobs
    ]
