"""The table and the JSON say the same, and nothing that was not measured."""

import io

from rich.console import Console

from tests.benchmarks.caches import Cache
from tests.benchmarks.datasets import Found
from tests.benchmarks.goals import AtMost
from tests.benchmarks.measure import Sample
from tests.benchmarks.results import BYTES, SECONDS, Line, Results, summaries_of
from tests.benchmarks.table import cells, document, render

FIRST = Line("first", "small files", "first backup", Cache.WARM, SECONDS, AtMost(0.5))
STORED = Line("stored", "small files", "bytes stored", None, BYTES, AtMost(1.0, peers=("restic",)))


def _results(line, **samples):
    results = Results()
    for name, values in samples.items():
        results.samples[line][name.replace("tar", "tar | zstd")] += values
    return results


def _cells(line, **samples):
    return cells(line, summaries_of(_results(line, **samples))[line])


def test_a_line_has_medians_extremes_cpu_floor_ratio_goal_and_verdict():
    found = _cells(
        FIRST,
        ours=[Sample(2, 3), Sample(1, 2), Sample(3, 4)],
        restic=[Sample(8, 4), Sample(8, 4)],
        borg=[Sample(9, 4)],
        tar=[Sample(0.5, 1)],
    )
    assert found == (
        "small files: first backup",
        "warm",
        "2.00 s\n(1.00 to 3.00)\n3.00 s CPU",
        "8.00 s\n4.00 s CPU",
        "9.00 s\n4.00 s CPU",
        "0.50 s\n1.00 s CPU\ntar | zstd",
        "0.25\nCPU 0.75",
        "≤ 0.50",
        "[green]yes[/green]",
    )


def test_what_was_not_measured_is_a_dash():
    assert _cells(FIRST, ours=[Sample(2, 3)])[3:] == ("–", "–", "–", "–", "≤ 0.50", "–")


def test_a_run_that_was_cut_off_is_shown_as_more_than_its_limit():
    found = _cells(FIRST, ours=[Sample(30, 1)], restic=[Sample(300, cut_off=True)])
    assert (found[3], found[6], found[8]) == ("> 300.00 s", "≤ 0.10", "[green]yes[/green]")


def test_stored_bytes_are_compared_with_restic_only():
    found = _cells(STORED, ours=[Sample(2 << 20)], restic=[Sample(4 << 20)], borg=[Sample(1 << 20)])
    assert (found[2], found[6]) == ("2.0 MiB", "0.50")


def test_the_document_holds_every_value_and_the_verdict():
    results = _results(FIRST, ours=[Sample(2, 3), Sample(4, 5)], restic=[Sample(4, 4)])
    results.data["small files"] = Found(7, 800)
    assert document(results, {"kernel": "6.1"}) == {
        "kernel": "6.1",
        "data": {"small files": {"files": 7, "bytes": 800}},
        "notes": [],
        "rows": [
            {
                "row": "first",
                "data": "small files",
                "title": "first backup",
                "cache": "warm",
                "unit": "s",
                "programs": {
                    "ours": {"median": 3, "lowest": 2, "highest": 4, "cpu": 4, "cut_off": False, "values": [2, 4]},
                    "restic": {"median": 4, "lowest": 4, "highest": 4, "cpu": 4, "cut_off": False, "values": [4]},
                },
                "ratio": 0.75,
                "cpu_ratio": 1.0,
                "goal": "≤ 0.50",
                "met": False,
            }
        ],
    }


def test_lines_come_in_the_order_of_the_plan_whatever_was_measured_first():
    results = Results()
    restore = Line("restore", "small files", "restore whole", Cache.WARM, SECONDS)
    image = Line("image", "disk image", "first backup", Cache.WARM, SECONDS)
    for line in (STORED, restore, image, FIRST):
        results.samples[line]["ours"].append(Sample(1))
    assert list(summaries_of(results)) == [FIRST, restore, STORED, image]


def test_the_printed_table_has_the_columns_of_the_issue():
    out = io.StringIO()
    Console(file=out, width=150).print(render(_results(FIRST, ours=[Sample(2, 3)])))
    header = out.getvalue().splitlines()[2]
    assert [word for word in header.split() if word.isascii()] == [
        "row", "cache", "ours", "restic", "borg", "floor", "ratio", "goal", "met?",
    ]  # fmt: skip
