"""Nobody watches the tower but the auditor: when its loops hang, people hear of it, and when they go on again too."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.support.sink import sink
from tests.support.stack import Stack, wait_for

pytestmark = pytest.mark.stack


def hanging(stack: Stack) -> dict[str, list[str]]:
    """The loops that hang, by process."""
    return {process["name"]: process["hangs"] for process in stack.status()["processes"] if process["hangs"]}


def test_when_the_loops_hang_the_auditor_speaks(tmp_path: Path) -> None:
    with sink() as people:
        stack = Stack(
            tmp_path / "home",
            env={
                "SKYHARBOR_ALARM_URLS": f"json://127.0.0.1:{people.port}/hunter2",
                "SKYHARBOR_DEADMAN_URL": f"{people.url}/ping/hunter2",
                "SKYHARBOR_AUDIT_SECONDS": "1",
                "SKYHARBOR_ALARM_AFTER_SECONDS": "1",
                "SKYHARBOR_HANG_SECONDS": "2",
            },
        )
        stack.up()
        try:
            wait_for(lambda: len(people.pings) > 1, "pings", seconds=20)
            assert people.messages == []

            stack.signal("loops", signal.SIGSTOP)
            wait_for(lambda: bool(people.messages), "the auditor to say that nobody leads", seconds=40)
            assert people.messages[0]["title"] == "Skyharbor no-leader tower"
            listed = stack.ask("alarm", "list")["items"]
            assert [(alarm["kind"], alarm["closed_at"]) for alarm in listed] == [("no-leader", None)]
            wait_for(lambda: bool(hanging(stack)), "the status to say that loops hang", seconds=20)
            assert (list(hanging(stack)), stack.run("status").code) == (["loops"], 1)

            stack.signal("loops", signal.SIGCONT)
            wait_for(lambda: bool(stack.status()["healthy"]), "the stack to be healthy again", seconds=20)
            wait_for(lambda: len(people.messages) > 1, "the auditor to say that it is over", seconds=40)
            assert [message["title"] for message in people.messages[1:]] == ["Skyharbor over: no-leader tower"]
            assert stack.ask("alarm", "list")["items"] == []
            assert [alarm["id"] for alarm in stack.ask("alarm", "list", "--all")["items"]] == [listed[0]["id"]]
        finally:
            stack.down()
        for log in (tmp_path / "home" / "logs").iterdir():
            assert "hunter2" not in log.read_text(errors="replace"), f"{log.name} tells an address"
