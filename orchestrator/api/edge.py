"""What the routes share at the edge: how they reach the application, and the types of texts and times on the wire.

Rule of the file: a type here says what is allowed on the wire, not what it means. What a route depends on never waits,
so it is ``async``: the framework would take a thread for each of them otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Generic, TypeVar

from fastapi import Depends, Path, Query, Request
from pydantic import BaseModel, ConfigDict, PlainSerializer, StringConstraints

from orchestrator.domain.inventory import Named
from orchestrator.domain.paging import DEFAULT_LIMIT, MAX_LIMIT, Page, PageRequest
from orchestrator.use_cases.application import Application

In = TypeVar("In")
Out = TypeVar("Out")

_NO_NUL = r"^[^\x00]+$"


class Received(BaseModel):
    """The base of what comes in: an unknown field is a mistake that somebody wants to hear of."""

    model_config = ConfigDict(extra="forbid")


class NamedOut(BaseModel):
    """A thing by its id and name."""

    id: str
    name: str


class Listing(BaseModel, Generic[Out]):
    """One page of a list; ``next`` is the cursor of the following one, null on the last."""

    items: list[Out]
    next: str | None


def _rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


Moment = Annotated[datetime, PlainSerializer(_rfc3339, return_type=str)]
"""A time on the wire: RFC 3339 in UTC with a Z."""

Text = Annotated[str, StringConstraints(min_length=1, max_length=4096, pattern=_NO_NUL)]
"""A text that PostgreSQL can keep."""

OptionalText = Annotated[str, StringConstraints(max_length=4096, pattern=r"^[^\x00]*$")]
"""The same, and it may be empty."""

Ref = Annotated[str, Path(description="A name or an id", max_length=200, pattern=_NO_NUL)]
"""A thing named in the path."""

RefQuery = Annotated[str | None, Query(description="A name or an id", max_length=200, pattern=_NO_NUL)]
"""A thing named in the query."""


async def _page(
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT,
    cursor: Annotated[str | None, Query(max_length=1024, pattern=_NO_NUL)] = None,
) -> PageRequest:
    return PageRequest(limit=limit, cursor=cursor)


async def _application(request: Request) -> Application:
    application = request.app.state.application
    if not isinstance(application, Application):
        raise TypeError("the API was built without an application")
    return application


Paging = Annotated[PageRequest, Depends(_page)]
"""``?limit=&cursor=``."""

Use = Annotated[Application, Depends(_application)]
"""The application that the API was built for."""


def listing(page: Page[In], present: Callable[[In], Out]) -> Listing[Out]:
    """Return a page with its elements as they go out."""
    return Listing(items=[present(element) for element in page.items], next=page.next)


def named(value: Named) -> NamedOut:
    """Return an id with its name as it goes out."""
    return NamedOut(id=value.id, name=value.name)
