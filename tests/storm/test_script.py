"""A seed that does not bring back its storm is worth nothing."""

from __future__ import annotations

from collections import Counter

from tests.storm.faults import GUSTS, QUICK, SLOW
from tests.storm.script import Step, script


def steps(seed: int, *, rounds: int = 2) -> list[Step]:
    return list(script(seed, [*QUICK, *SLOW], rounds=rounds, gusts=GUSTS, longest_pause=1.0))


def test_a_seed_is_one_storm_and_another_seed_another() -> None:
    assert steps(1) == steps(1)
    assert steps(1) != steps(2)


def test_every_kind_of_fault_comes_in_every_round() -> None:
    counted = Counter(step.kind for step in steps(3, rounds=4))
    assert {kind for kind in [*QUICK, *SLOW] if counted[kind] < 4} == set()


def test_gusts_are_faults() -> None:
    assert set(GUSTS) <= set(QUICK)
