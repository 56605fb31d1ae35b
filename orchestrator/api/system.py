"""/healthz, /readyz and /system: is it there, can it work, and what is it doing."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel, Field

from orchestrator.api.edge import Moment, Use
from orchestrator.use_cases.system import is_ready, system_status
from shared.errors import SkyharborError

open_routes = APIRouter(tags=["health"])
routes = APIRouter(tags=["system"])


class Health(BaseModel):
    """The process answers."""

    status: str = "ok"


class WorkerOut(BaseModel):
    """A worker process as last heard of."""

    name: str
    session: str
    last_seen_at: Moment
    concurrency: int
    running: int
    version: str


class SlotsOut(BaseModel):
    """A scarce thing and how much of it is in use."""

    scope: str
    key: str
    capacity: int
    in_use: int


class SystemOut(BaseModel):
    """The tower at this moment; ``queue`` counts jobs by state."""

    version: str
    schema_version: str = Field(serialization_alias="schema")  # the plain name is one of Pydantic's own
    started_at: Moment
    workers: list[WorkerOut]
    queue: dict[str, int]
    slots: list[SlotsOut]


@open_routes.get("/healthz")
def healthz() -> Health:
    """Answer that the process lives; touches nothing."""
    return Health()


@open_routes.get("/readyz")
def readyz(application: Use) -> Health:
    """Answer whether the database is reachable and has this program's schema; 503 when not."""
    with application.unit_of_work() as uow:
        if is_ready(uow, schema_head=application.schema_head):
            return Health()
        raise SkyharborError("server-unreachable", f"the database's schema is not {application.schema_head}")


@routes.get("/system")
def system(application: Use) -> SystemOut:
    """Show workers, queue and slots."""
    with application.unit_of_work() as uow:
        status = system_status(uow)
    return SystemOut(
        version=application.version,
        schema_version=status.schema,
        started_at=application.started_at,
        workers=[
            WorkerOut(
                name=worker.name,
                session=worker.session,
                last_seen_at=worker.last_seen_at,
                concurrency=worker.concurrency,
                running=worker.running,
                version=worker.version,
            )
            for worker in status.workers
        ],
        queue=dict(status.queue),
        slots=[
            SlotsOut(scope=slot.scope, key=slot.key, capacity=slot.capacity, in_use=slot.in_use)
            for slot in status.slots
        ],
    )
