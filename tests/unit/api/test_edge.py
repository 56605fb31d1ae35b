"""What the API says before any use case is asked: who may enter, and the shape of every refusal."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from orchestrator.api.app import MAX_BODY_BYTES, create_app
from orchestrator.api.sources import FilesSource
from orchestrator.domain.inventory import StoredVault
from orchestrator.use_cases.application import Application
from orchestrator.use_cases.ports import UnitOfWork
from shared.clock import SystemClock
from shared.errors import REGISTRY, SkyharborError
from tests.unit.api.served import TOKEN, WORKER_TOKEN, client, served
from workers.sources.excludes import Excludes


class NoVaults:
    """No storage at all."""

    def create(self, url: str, *, name: str) -> StoredVault:
        raise SkyharborError("store-unreachable", f"{url} for {name}")

    def describe(self, url: str) -> StoredVault:
        raise SkyharborError("store-unreachable", url)


class Defect(Exception):
    """Something that nobody foresaw."""


def no_database() -> UnitOfWork:
    raise SkyharborError("server-unreachable", "the database does not answer")


def broken() -> UnitOfWork:
    raise Defect("the token is hunter2")


def application(unit_of_work: Any) -> Application:
    clock = SystemClock()
    return Application(
        unit_of_work=unit_of_work,
        clock=clock,
        vaults=NoVaults(),
        schema_head="1",
        version="0.1",
        started_at=clock.now(),
    )


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with served(create_app(application(no_database), token=TOKEN, worker_token=WORKER_TOKEN)) as address:
        yield address


@pytest.fixture
def operator(url: str) -> Iterator[httpx.Client]:
    with client(url, TOKEN) as http:
        yield http


def problem_of(reply: httpx.Response) -> dict[str, Any]:
    """The problem document of a refusal, its shape checked."""
    assert reply.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = reply.json()
    kind = REGISTRY[document["code"]]
    assert (document["status"], document["title"]) == (reply.status_code, kind.title)
    assert isinstance(document["hint"], str)
    assert document["type"] == "about:blank"
    assert document["detail"]
    return document


@pytest.mark.parametrize("token", [None, "", "wrong", WORKER_TOKEN, TOKEN + "x", TOKEN[:-1]])
def test_only_the_operators_token_opens_the_public_api(url: str, token: str | None) -> None:
    with client(url, token) as http:
        reply = http.get("/api/v1/vaults")
    assert (problem_of(reply)["code"], reply.headers["www-authenticate"]) == ("unauthenticated", "Bearer")
    assert reply.status_code == 401


@pytest.mark.parametrize("verb", ["hello", "claim", "renew", "commit", "complete", "release"])
@pytest.mark.parametrize("token", [None, "wrong", TOKEN])
def test_only_the_workers_token_opens_the_work_api(url: str, verb: str, token: str | None) -> None:
    with client(url, token) as http:
        assert problem_of(http.post(f"/work/v1/{verb}", content=b"{}"))["status"] == 401


def test_every_operation_of_the_public_api_is_behind_the_token(url: str) -> None:
    with client(url, None) as http:
        paths = http.get("/api/openapi.json").json()["paths"]
        statuses = {
            (method, path): http.request(method, path.replace("{ref}", "x")).status_code
            for path, methods in paths.items()
            for method in methods
        }
    open_ones = {path for (_, path), status in statuses.items() if status != 401}
    assert open_ones == {"/healthz", "/readyz", "/metrics"}
    assert len(statuses) > 25


def test_a_token_with_foreign_bytes_is_only_wrong(url: str) -> None:
    with client(url, None) as http:
        reply = http.get("/api/v1/vaults", headers={b"Authorization": b"Bearer \xff\xfe"})
    assert reply.status_code == 401


@pytest.mark.parametrize(("token", "worker_token"), [("", "w"), ("o", ""), ("same", "same")])
def test_an_api_that_could_not_tell_its_callers_apart_is_not_built(token: str, worker_token: str) -> None:
    with pytest.raises(ValueError, match="two different tokens"):
        create_app(application(no_database), token=token, worker_token=worker_token)


def test_health_needs_no_database_and_readiness_does(url: str) -> None:
    with client(url, None) as http:
        assert http.get("/healthz").json() == {"status": "ok"}
        assert problem_of(http.get("/readyz"))["code"] == "server-unreachable"
        assert http.get("/metrics").status_code == 503


def test_a_database_that_does_not_answer_is_a_problem_and_not_a_defect(operator: httpx.Client) -> None:
    assert problem_of(operator.get("/api/v1/vaults"))["code"] == "server-unreachable"


def test_a_defect_says_nothing_of_its_cause() -> None:
    with (
        served(create_app(application(broken), token=TOKEN, worker_token=WORKER_TOKEN)) as url,
        client(url, TOKEN) as http,
    ):
        reply = http.get("/api/v1/vaults")
    assert problem_of(reply)["code"] == "internal"
    assert "hunter2" not in reply.text


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/api/v1/nothing", 404, "not-found"),
        ("PUT", "/api/v1/vaults", 405, "bad-request"),
        ("GET", "/", 404, "not-found"),
    ],
)
def test_unknown_paths_and_methods_are_problems(
    operator: httpx.Client, method: str, path: str, status: int, code: str
) -> None:
    reply = operator.request(method, path)
    assert (reply.status_code, problem_of(reply)["code"]) == (status, code)


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({"name": "v"}, ["url"]),
        ({"name": "", "url": "file:///x", "colour": "red"}, ["name", "colour"]),
        ({"name": "a\0b", "url": 3}, ["name", "url"]),
        ([], [""]),
    ],
)
def test_a_body_that_does_not_fit_names_its_fields(operator: httpx.Client, body: object, fields: list[str]) -> None:
    document = problem_of(operator.post("/api/v1/vaults", json=body))
    assert document["code"] == "bad-request"
    assert [error["field"] for error in document["errors"]] == [field or "body" for field in fields]


@pytest.mark.parametrize("content", [b"{", b"\xff", b"null", b'{"name": "\\ud800", "url": "x"}'])
def test_a_body_that_is_no_document_is_a_problem(operator: httpx.Client, content: bytes) -> None:
    reply = operator.post("/api/v1/vaults", content=content, headers={"Content-Type": "application/json"})
    assert problem_of(reply)["status"] == 422


@pytest.mark.parametrize("query", ["limit=0", "limit=501", "limit=x", "cursor=a%00", "state=sleeping", "kind=x"])
def test_a_query_that_does_not_fit_is_a_problem(operator: httpx.Client, query: str) -> None:
    assert problem_of(operator.get(f"/api/v1/jobs?{query}"))["code"] == "bad-request"


def test_a_name_that_no_database_can_keep_is_a_problem(operator: httpx.Client) -> None:
    assert problem_of(operator.get("/api/v1/vaults/a%00b"))["code"] == "bad-request"


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_an_empty_name_never_becomes_the_list_of_all(operator: httpx.Client, method: str) -> None:
    reply = operator.request(method, "/api/v1/items/", follow_redirects=True)
    assert (reply.status_code, problem_of(reply)["code"]) == (404, "not-found")


@pytest.mark.parametrize("glob", ["[z-a]", "/home/[!]/x", "[^]x]", "*.[9-0]"])
def test_an_exclude_that_would_fail_every_backup_is_refused_when_it_is_given(operator: httpx.Client, glob: str) -> None:
    body = {
        "name": "i",
        "workload": "files",
        "machine": "m",
        "vault": "v",
        "source": {"paths": ["/"], "excludes": [glob]},
    }
    document = problem_of(operator.post("/api/v1/items", json=body))
    assert (document["code"], document["errors"][0]["field"]) == ("bad-request", "source.excludes.0")


@pytest.mark.parametrize("larger_than", [0, -1, 2**63, "1G", 1.5])
def test_a_limit_that_is_no_number_of_bytes_is_refused(operator: httpx.Client, larger_than: object) -> None:
    source = {"paths": ["/"], "rules": {"larger_than": larger_than}}
    body = {"name": "i", "workload": "files", "machine": "m", "vault": "v", "source": source}
    document = problem_of(operator.post("/api/v1/items", json=body))
    assert (document["code"], document["errors"][0]["field"]) == ("bad-request", "source.rules.larger_than")


@pytest.mark.parametrize(
    "glob", ["*.tmp", "[a-z]/", "[!a-z].o", "[", "[]]", "[]", "\\[z-a]", "[^x]", "**/x", "[[:x:]]"]
)
def test_a_usable_exclude_is_taken_as_it_is(glob: str) -> None:
    assert FilesSource(workload="files", paths=["/"], excludes=[glob]).excludes == [glob]


@given(st.text("[]!^-\\az&~|*?/é", min_size=1, max_size=12))
def test_what_the_api_takes_as_an_exclude_the_worker_can_use(glob: str) -> None:
    try:
        FilesSource(workload="files", paths=["/"], excludes=[glob])
    except ValidationError:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        Excludes([glob])


def test_a_long_body_is_refused_whether_it_says_so_or_not(operator: httpx.Client) -> None:
    too_long = b" " * (MAX_BODY_BYTES + 1)
    announced = operator.post("/api/v1/vaults", content=too_long)
    silent = operator.post("/api/v1/vaults", content=iter([too_long[: 1 << 20]] * 9))
    assert [problem_of(reply)["status"] for reply in (announced, silent)] == [413, 413]


def test_a_workers_long_body_is_refused_whether_it_says_so_or_not(url: str) -> None:
    too_long = b" " * (MAX_BODY_BYTES + 1)
    with client(url, WORKER_TOKEN) as http:
        announced = http.post("/work/v1/complete", content=too_long)
        silent = http.post("/work/v1/complete", content=iter([too_long[: 1 << 20]] * 9))
    assert [problem_of(reply)["status"] for reply in (announced, silent)] == [413, 413]


def test_a_body_that_comes_in_pieces_is_one_message(url: str) -> None:
    with client(url, WORKER_TOKEN) as http:
        reply = http.post("/work/v1/claim", content=iter([b'{"worker": "w",', b" " * (1 << 20), b'"session": 5}']))
    assert "expected `str`, got `int`" in problem_of(reply)["detail"].lower()


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "claim", 405), ("POST", "clam", 404), ("POST", "", 404)]
)
def test_what_the_work_api_does_not_know_is_a_problem(url: str, method: str, path: str, status: int) -> None:
    with client(url, WORKER_TOKEN) as http:
        assert problem_of(http.request(method, f"/work/v1/{path}"))["status"] == status


@pytest.mark.parametrize("header", ["Bearer", f"Basic {WORKER_TOKEN}", WORKER_TOKEN, f"Bearer {TOKEN}"])
def test_the_workers_token_comes_as_a_bearer(url: str, header: str) -> None:
    with client(url, None) as http:
        reply = http.post("/work/v1/claim", content=b"{}", headers={"Authorization": header})
    assert (problem_of(reply)["status"], reply.headers["www-authenticate"]) == (401, "Bearer")


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"\xff", b'{"worker": 5}'])
def test_a_message_that_is_not_of_the_contract_is_a_problem(url: str, content: bytes) -> None:
    with client(url, WORKER_TOKEN) as http:
        reply = http.post("/work/v1/hello", content=content)
    assert (problem_of(reply)["code"], reply.status_code) == ("bad-request", 422)


def test_openapi_documents_problems_for_every_operation(url: str) -> None:
    with client(url, None) as http:
        document = http.get("/api/openapi.json").json()
    without = [
        (method, path)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if "application/problem+json" not in operation["responses"]["default"]["content"]
    ]
    assert without == []
    assert set(document["components"]["schemas"]["Problem"]["required"]) >= {"title", "status", "detail", "code"}
    assert "HTTPValidationError" not in str(document)
