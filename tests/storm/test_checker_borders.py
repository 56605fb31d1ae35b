"""A checker that cannot fail is a defect: a door that opens to the wrong token has to be found.

Rule of the file: the API here is a few lines that answer as a careless one would.
"""

from __future__ import annotations

import httpx

from tests.storm.checker.borders import WORK, trespasses

TOKENS = {"operator": "operator's token", "worker": "worker's token"}
PATHS = {"/healthz": {"get": {}}, "/api/v1/jobs": {"get": {}, "post": {}}, "/api/v1/jobs/{ref}": {"get": {}}}
CLOSED = 3 + len(WORK)


def api(*, careless: str = "") -> httpx.Client:
    """An API with three closed doors beside the work protocol's; one that is ``careless`` lets some token in."""

    def answer(request: httpx.Request) -> httpx.Response:
        path, sent = request.url.path, request.headers.get("Authorization")
        if path == "/api/openapi.json":
            return httpx.Response(200, json={"paths": PATHS})
        if careless == "nobody" and sent is None and path == "/api/v1/jobs/x":
            return httpx.Response(200, json={"id": "a job"})
        if careless == "workers" and sent == "Bearer worker's token" and path == "/api/v1/jobs":
            return httpx.Response(202)
        if careless == "a beginning" and sent is not None and "Bearer operator's token".startswith(sent):
            return httpx.Response(404)
        return httpx.Response(401)

    return httpx.Client(transport=httpx.MockTransport(answer), base_url="http://tower")


def test_an_api_that_refuses_everybody_is_sound_and_every_door_was_tried() -> None:
    assert trespasses(api(), TOKENS) == (4 * CLOSED, [])


def test_a_door_that_opens_is_found_whoever_it_opens_to() -> None:
    found = {who: trespasses(api(careless=who), TOKENS)[1] for who in ("nobody", "workers", "a beginning")}
    assert {who: len(violations) for who, violations in found.items()} == {
        "nobody": 1,
        "workers": 2,
        "a beginning": 3 + len(WORK),
    }
