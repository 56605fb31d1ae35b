"""What the worker makes of the tower's answers, and of answers that are not the tower's."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from shared.contracts.collect import (
    AskCondemned,
    AskDoomedPoints,
    AskUnsettled,
    Condemn,
    CondemnedPack,
    CondemnedPacks,
    Deleted,
    Doom,
    Doomed,
    DoomedPoints,
    Expired,
    PointIds,
    Settled,
    UnsettledPoints,
)
from shared.contracts.work import Claim, Fence, Renew
from shared.errors import SkyharborError
from workers.session.tower import TowerClient

FENCE = Fence(job_id="j", unit=0, epoch=2, claim_id="c")


class Answers:
    """A server that gives one fixed answer."""

    def __init__(self) -> None:
        self.status, self.body = 200, b""


@pytest.fixture
def answers() -> Answers:
    return Answers()


@pytest.fixture
def tower(answers: Answers) -> Iterator[TowerClient]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(answers.status)
            self.send_header("Content-Length", str(len(answers.body)))
            self.end_headers()
            self.wfile.write(answers.body)

        def log_message(self, format: str, *args: object) -> None:
            """Stay quiet."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    client = TowerClient(f"http://127.0.0.1:{server.server_port}", "t")
    yield client
    client.close()
    server.shutdown()
    thread.join()
    server.server_close()


def code_of(tower: TowerClient) -> str:
    with pytest.raises(SkyharborError) as caught:
        tower.complete(FENCE, outcome=None)  # type: ignore[arg-type]
    return caught.value.code


def test_no_content_means_nothing_to_claim(tower: TowerClient, answers: Answers) -> None:
    answers.status = 204
    assert tower.claim(Claim(worker="w", session="s")) is None


@pytest.mark.parametrize("body", [b"<html>a proxy</html>", b"[]", b'{"units": 3}'])
def test_a_page_of_a_proxy_is_no_answer(tower: TowerClient, answers: Answers, body: bytes) -> None:
    answers.body = body
    with pytest.raises(SkyharborError, match="not the tower's") as caught:
        tower.renew(Renew(worker="w", session="s"))
    assert caught.value.code == "server-unreachable"


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (409, b'{"code": "stale-claim", "detail": "somebody else"}', "stale-claim"),
        (409, b'{"code": "cancelled"}', "cancelled"),
        (401, b"no", "unauthenticated"),
        (422, b'{"code": "from-the-future"}', "bad-request"),
        (503, b'{"code": "stale-claim"}', "server-unreachable"),
        (500, b"", "server-unreachable"),
    ],
)
def test_refusals_keep_their_code_and_server_errors_are_silence(
    tower: TowerClient, answers: Answers, status: int, body: bytes, code: str
) -> None:
    answers.status, answers.body = status, body
    assert code_of(tower) == code


def test_a_tower_that_is_not_there_is_unreachable() -> None:
    client = TowerClient("http://127.0.0.1:1", "t")
    assert code_of(client) == "server-unreachable"
    client.close()


def test_what_the_tower_says_to_a_collector_is_read_as_the_contract_has_it(
    tower: TowerClient, answers: Answers
) -> None:
    answers.body = b'{"packs":[["packs/d/00/00",7,true,false]],"more":true}'
    page = tower.condemned(AskCondemned(fence=FENCE))
    assert page == CondemnedPacks(packs=(CondemnedPack("packs/d/00/00", 7, True, False),), more=True)
    answers.body = b'{"packs":["packs/d/00/00"]}'
    assert tower.doom(Doom(fence=FENCE, packs=("packs/d/00/00",))) == Doomed(packs=("packs/d/00/00",))
    answers.body = b'{"points":[["m","i","p"],["m","i","q",true]],"waiting":2}'
    points = (PointIds("m", "i", "p"), PointIds("m", "i", "q", fence=True))
    assert tower.doom_points(AskDoomedPoints(fence=FENCE)) == DoomedPoints(points=points, waiting=2)
    assert tower.unsettled(AskUnsettled(fence=FENCE)) == UnsettledPoints(points=points)


def test_what_needs_no_answer_takes_any_body_of_a_success(tower: TowerClient, answers: Answers) -> None:
    answers.body = b"{}"
    tower.condemn(Condemn(fence=FENCE))
    tower.deleted(Deleted(fence=FENCE, packs=()))
    tower.expired(Expired(fence=FENCE, points=()))
    tower.settled(Settled(fence=FENCE))
    answers.status, answers.body = 409, b'{"code":"conflict","detail":"there is a point"}'
    with pytest.raises(SkyharborError) as caught:
        tower.settled(Settled(fence=FENCE, fenced=("p",)))
    assert caught.value.code == "conflict"
