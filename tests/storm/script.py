"""The order of faults of one storm, drawn from its seed.

A seed gives the same faults in the same order with the same parameters and pauses. What the processes of the machine do
between them is not ours to decide, so a replay meets the same weather, not the same instant.

Rule of the file: pure; the same seed and kinds give the same script.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Step:
    """One fault: its kind, the seed of its parameters, and how many seconds pass before it."""

    number: int
    kind: str
    seed: int
    pause: float


def script(
    seed: int, kinds: Sequence[str], *, rounds: int, gusts: Sequence[str], longest_pause: float
) -> Iterator[Step]:
    """Yield the steps: round after round of all kinds, each round in another order.

    Between two of them some ``gusts`` come without a pause: kinds that take no time and hit hardest when they are many.
    """
    rng = random.Random(seed)
    numbers = itertools.count(1)
    for _ in range(rounds):
        for kind in rng.sample(sorted(kinds), k=len(kinds)):
            yield Step(next(numbers), kind, rng.getrandbits(32), rng.uniform(0.1, longest_pause))
            for gust in rng.choices(sorted(gusts), k=rng.choice([0, 1, 1, 2])):
                yield Step(next(numbers), gust, rng.getrandbits(32), rng.uniform(0.0, 0.3))
