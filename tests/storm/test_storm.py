"""Storms: the short one in every run of the suite with fixed seeds, the long one in the soak.

A failing storm names its seed; ``pytest tests/storm --seed N`` (with ``-m soak`` for the long one) runs it again.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.storm.storm import Weather, storm
from tests.support.counts import Tally

SHORT = Weather(rounds=1, drain_within=120, slow=False)
LONG = Weather(rounds=2, drain_within=300, slow=True, items=8, open_jobs=10, mebibytes=24, longest_pause=2.0)

SHORT_SEEDS = [1]
LONG_SEEDS = [11, 12, 13]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the given seeds, or those of the suite."""
    given = metafunc.config.getoption("--seed")
    usual = LONG_SEEDS if metafunc.function.__name__.endswith("long_storm") else SHORT_SEEDS
    if "seed" in metafunc.fixturenames:
        metafunc.parametrize("seed", given or usual)


@pytest.mark.stack
@pytest.mark.timeout(600)
def test_nothing_is_lost_doubled_or_told_in_a_short_storm(seed: int, tmp_path: Path, tally: Tally) -> None:
    weather(SHORT, seed, tmp_path, tally)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_nothing_is_lost_doubled_or_told_in_a_long_storm(seed: int, tmp_path: Path, tally: Tally) -> None:
    weather(LONG, seed, tmp_path, tally)


def weather(weather: Weather, seed: int, folder: Path, tally: Tally) -> None:
    with tally.cell(f"seed {seed}") as found:
        found += [str(violation) for violation in storm(seed, folder, weather, tally)]
    if not tally.violations:
        shutil.rmtree(folder, ignore_errors=True)
    tally.judge(least=10)
