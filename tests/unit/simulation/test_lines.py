"""Shared bandwidth: everybody gets an equal part at every moment, and nothing is lost or made."""

from __future__ import annotations

import pytest

from orchestrator.simulation.lines import Lines


def ends(lines: Lines) -> dict[int, float]:
    """Run all transfers to their ends and return when each was done."""
    done: dict[int, float] = {}
    while (at := lines.next_end()) is not None:
        ticket = lines.take_done(at)
        assert ticket is not None
        done[ticket] = at
    return done


def test_alone_a_transfer_runs_as_fast_as_the_slowest_part() -> None:
    lines = Lines({"berlin": 50.0}, {"cellar": 80.0})
    first = lines.start(("berlin", "cellar", 100.0), 1000.0, now=0.0)
    assert ends(lines) == {first: pytest.approx(20.0)}


def test_two_share_a_line_until_one_is_done() -> None:
    lines = Lines({"berlin": 50.0}, {})
    first = lines.start(("berlin", "cellar", 100.0), 100.0, now=0.0)
    second = lines.start(("berlin", "attic", 100.0), 300.0, now=0.0)
    # 25 MiB/s each for 4 s; then 50 MiB/s for the 200 MiB that the second has left.
    assert ends(lines) == {first: pytest.approx(4.0), second: pytest.approx(8.0)}


def test_one_that_comes_later_slows_the_others_from_then_on() -> None:
    lines = Lines({}, {"cellar": 100.0})
    first = lines.start(("", "cellar", 1000.0), 1000.0, now=0.0)
    second = lines.start(("oslo", "cellar", 1000.0), 250.0, now=5.0)
    assert ends(lines) == {second: pytest.approx(10.0), first: pytest.approx(12.5)}


def test_one_that_is_stopped_leaves_its_part_to_the_others() -> None:
    lines = Lines({}, {"cellar": 100.0})
    first = lines.start(("", "cellar", 1000.0), 1000.0, now=0.0)
    second = lines.start(("", "cellar", 1000.0), 1000.0, now=0.0)
    lines.stop(second, now=10.0)
    lines.stop(second, now=11.0)
    assert ends(lines) == {first: pytest.approx(15.0)}


def test_a_line_without_limit_slows_nobody() -> None:
    lines = Lines({"berlin": None}, {"cellar": None})
    tickets = [lines.start(("berlin", "cellar", 10.0), 100.0, now=0.0) for _ in range(50)]
    assert ends(lines) == {ticket: pytest.approx(10.0) for ticket in tickets}
