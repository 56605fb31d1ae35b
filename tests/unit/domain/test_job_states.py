"""The transition table is sound: everything is reachable, and every job can end."""

from __future__ import annotations

from orchestrator.domain.job_states import OWNED, TERMINAL, TRANSITIONS, WAITING, JobState, may_move


def reach(start: JobState) -> set[JobState]:
    seen: set[JobState] = set()
    todo = [start]
    while todo:
        state = todo.pop()
        for after in TRANSITIONS[state].to - seen:
            seen.add(after)
            todo.append(after)
    return seen


def test_every_state_is_in_exactly_one_group() -> None:
    assert sorted([*TERMINAL, *WAITING, *OWNED]) == sorted(JobState)


def test_every_state_is_reached_from_scheduled() -> None:
    assert reach(JobState.SCHEDULED) | {JobState.SCHEDULED} == set(JobState)


def test_every_job_can_complete_until_it_has_ended() -> None:
    assert all(JobState.COMPLETED in reach(state) for state in (*WAITING, *OWNED))


def test_nothing_leaves_a_terminal_state_and_only_a_worker_completes() -> None:
    assert not any(may_move(before, after) for before in TERMINAL for after in JobState)
    assert {before for before in JobState if may_move(before, JobState.COMPLETED)} == set(OWNED)
