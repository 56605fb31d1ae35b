"""Messages arrive through apprise, a ping through HTTP, and no address is ever told to anybody else."""

from __future__ import annotations

import io
import logging
import threading
from collections.abc import Iterator

import pytest

from orchestrator.alarms.apprise_channels import open_channels
from orchestrator.alarms.dead_man import HttpDeadMan
from orchestrator.domain.alarm_text import Message, Tone
from shared.errors import SkyharborError
from shared.telemetry.logging import configure_logging
from tests.support.sink import Sink, sink

MESSAGE = Message(
    "Skyharbor rpo-missed docs", "the newest recovery point is 26 h old, <b>promised</b> are 24 h", Tone.BAD
)
SECRET = "hunter2-7f3a"


@pytest.fixture
def webhook() -> Iterator[Sink]:
    with sink() as listening:
        yield listening


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """Everything that this process logs, at the loudest level."""
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    root = logging.getLogger()
    before = (root.handlers[:], root.level)
    configure_logging(process="auditor", level="debug")
    root.setLevel(logging.DEBUG)
    yield stream
    root.handlers[:], root.level = before[0], before[1]


def test_a_message_arrives_as_it_was_written(webhook: Sink) -> None:
    [channel] = open_channels([f"json://127.0.0.1:{webhook.port}/alarms"])
    assert channel.name == "1:json"
    assert channel.send(MESSAGE)
    [got] = webhook.messages
    assert (got["title"], got["message"], got["type"]) == (MESSAGE.title, MESSAGE.body, "failure")


@pytest.mark.parametrize("status", [500, 403, 301, 302, 307])
def test_what_is_not_taken_is_not_delivered(webhook: Sink, status: int) -> None:
    webhook.status, webhook.location = status, f"{webhook.url}/elsewhere"
    [channel] = open_channels([f"json://127.0.0.1:{webhook.port}/alarms"])
    assert not channel.send(MESSAGE)
    assert {path for _, path, _ in webhook.requests} == {"/alarms"}


def test_a_receiver_that_is_gone_is_no_crash() -> None:
    with sink() as gone:
        url = f"json://127.0.0.1:{gone.port}"
    [channel] = open_channels([url])
    assert not channel.send(MESSAGE)


@pytest.mark.parametrize("url", [SECRET, f"nosuchservice://{SECRET}", f"json://:{SECRET}@", "json://"])
def test_an_address_that_is_none_is_refused_by_its_place_and_not_repeated(url: str, log: io.StringIO) -> None:
    with pytest.raises(SkyharborError, match="URL number 2") as caught:
        open_channels(["json://127.0.0.1", url])
    assert caught.value.code == "bad-request"
    assert SECRET not in f"{caught.value} {caught.value.fields} {caught.value.__cause__} {log.getvalue()}"


def test_no_log_line_holds_an_address(webhook: Sink, log: io.StringIO) -> None:
    webhook.status = 500
    [channel] = open_channels([f"json://user:{SECRET}@127.0.0.1:{webhook.port}/{SECRET}?+X-Token={SECRET}"])
    dead_man = HttpDeadMan(f"{webhook.url}/{SECRET}")
    gone = HttpDeadMan(f"http://user:{SECRET}@127.0.0.1:1/{SECRET}")
    assert (channel.send(MESSAGE), dead_man.ping(), gone.ping()) == (False, False, False)
    assert len(webhook.requests) == 2
    assert SECRET not in log.getvalue()
    assert "dead_man_refused" in log.getvalue()


def test_a_ping_is_one_get(webhook: Sink) -> None:
    assert HttpDeadMan(f"{webhook.url}/ping/me").ping()
    assert webhook.requests == [("GET", "/ping/me", b"")]


def test_a_ping_is_not_sent_on_to_somebody_else(webhook: Sink) -> None:
    with sink() as elsewhere:
        webhook.status, webhook.location = 302, elsewhere.url
        assert not HttpDeadMan(webhook.url).ping()
        assert elsewhere.requests == []


def test_a_ping_whose_answer_drips_is_given_up_and_not_piled_up(webhook: Sink) -> None:
    webhook.drip = threading.Event()
    give_up = threading.Timer(60.0, webhook.drip.set)
    give_up.start()
    dead_man = HttpDeadMan(webhook.url, seconds=0.3)
    assert [dead_man.ping() for _ in range(3)] == [False] * 3
    assert (len(webhook.requests), webhook.drip.is_set()) == (1, False)
    give_up.cancel()
