"""The ASGI application: which routes there are, who may use them, and how failures leave.

Rule of the file: only healthz, readyz, metrics and the OpenAPI document are open; all else is behind one of two tokens.
"""

from __future__ import annotations

import hmac
from typing import Any

from fastapi import APIRouter, Depends, FastAPI
from starlette.types import ASGIApp

from orchestrator.api import (
    alarms,
    at_risk,
    audit,
    collections,
    compliance,
    events,
    items,
    jobs,
    machines,
    metrics,
    points,
    policies,
    problems,
    retention,
    slots,
    system,
    vaults,
)
from orchestrator.api.auth import bearer
from orchestrator.api.cut_short import CutShort
from orchestrator.api.work_door import WorkDoor
from orchestrator.use_cases.application import Application

MAX_BODY_BYTES = 8 << 20
"""An outcome with a thousand notices of long paths fits several times."""

_DESCRIPTION = (
    "Every noun is addressed by name or id. Errors are problem documents (RFC 9457) with a stable code. Lists are "
    "pages: go on with the cursor in `next`. A POST that makes a job takes an Idempotency-Key, good for 7 days."
)


class Api(FastAPI):
    """FastAPI that documents the shape of problems and answers with it even where the framework would not."""

    def build_middleware_stack(self) -> ASGIApp:
        """Return the stack with the workers' door before the framework's.

        Our refusal of long bodies is outside of both: the framework's answers in plain text. Outermost is what ends
        requests in peace when the server does.
        """
        door = WorkDoor(
            super().build_middleware_stack(),
            application=self.state.application,
            token=self.state.worker_token,
            longest=MAX_BODY_BYTES,
        )
        return CutShort(problems.RefuseLongBodies(door, longest=MAX_BODY_BYTES))

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document; made once."""
        document = super().openapi()
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        schemas.setdefault("Problem", problems.Problem.model_json_schema())
        return document


def create_app(application: Application, *, token: str, worker_token: str) -> FastAPI:
    """Return the API. ``token`` opens ``/api/v1``, ``worker_token`` opens ``/work/v1``, neither opens the other.

    Raises ``ValueError`` for an empty token or when both are the same.
    """
    if not token or not worker_token or hmac.compare_digest(token.encode(), worker_token.encode()):
        raise ValueError("the API needs two different tokens")
    app = Api(
        title="Skyharbor",
        version=application.version,
        description=_DESCRIPTION,
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # an empty name must not become the list of all
        max_body_size=MAX_BODY_BYTES,
        responses=problems.PROBLEM_RESPONSES,
    )
    app.state.application = application
    app.state.worker_token = worker_token
    problems.install(app)
    app.include_router(system.open_routes)
    app.include_router(metrics.routes)
    app.include_router(_operators(), prefix="/api/v1", dependencies=[Depends(bearer(token))])
    return app


def _operators() -> APIRouter:
    router = APIRouter()
    catalog = (vaults, collections, machines, items, policies, points, retention)
    for noun in (system, *catalog, jobs, events, slots, compliance, at_risk, alarms, audit):
        router.include_router(noun.routes)
    return router
