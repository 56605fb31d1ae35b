"""Where a backup is cut: into parts of about the same size that together are everything, once."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.vault.entry import sort_key
from shared.vault.point import PageRef
from workers.engine.ports import Survey
from workers.engine.sharding import Sharding, parts_of, spans_of_pages, spans_of_survey
from workers.engine.span import EVERYTHING, Span

DEFAULT = Sharding()

names = st.binary(min_size=1, max_size=3).map(lambda raw: raw.replace(b"/", b"x").replace(b"\0", b"y"))
paths = st.lists(names, min_size=1, max_size=4).map(b"/".join)


def _pages(*sizes):
    return [PageRef(b"p%06d" % number, b"", size) for number, size in enumerate(sizes)]


def _sizes(spans, pieces):
    return [sum(size for path, size in pieces if span.holds(path)) for span in spans]


def test_below_the_threshold_and_without_helpers_nothing_is_cut():
    pages = _pages(*[1000] * 300)
    assert spans_of_pages(pages[:199], workers=8, sharding=DEFAULT) == [EVERYTHING]
    assert spans_of_pages(pages, workers=1, sharding=DEFAULT) == [EVERYTHING]
    assert len(spans_of_pages(pages, workers=2, sharding=DEFAULT)) == 8


def test_there_are_more_parts_than_workers_but_none_is_tiny_or_huge():
    assert parts_of(10_000_000, workers=4, sharding=DEFAULT) == 20
    assert parts_of(10_000_000, workers=16, sharding=DEFAULT) == 64
    assert parts_of(200_000, workers=16, sharding=DEFAULT) == 8
    assert parts_of(10**9, workers=2, sharding=DEFAULT) == 256


@given(st.lists(st.integers(1, 1024), min_size=1, max_size=400), st.integers(2, 20))
def test_parts_begin_with_pages_and_are_balanced(sizes, workers):
    pages = _pages(*sizes)
    sharding = Sharding(entries=1)
    spans = spans_of_pages(pages, workers=workers, sharding=sharding)
    pieces = [(page.first, page.entries) for page in pages]
    parts = _sizes(spans, pieces)
    assert sum(parts) == sum(sizes)
    assert [span.begin for span in spans][1:] == [span.end for span in spans][:-1]
    assert {span.begin for span in spans} <= {b"", *(page.first for page in pages)}
    wanted = parts_of(sum(sizes), workers=workers, sharding=sharding)
    assert max(parts) <= sum(sizes) / wanted + max(sizes)
    assert all(parts)


@given(st.lists(paths, min_size=1, max_size=30, unique=True), st.lists(paths, max_size=6, unique=True))
def test_every_path_is_in_exactly_one_part_whatever_the_borders(nodes, borders):
    borders.sort(key=sort_key)
    spans = [Span(begin, end) for begin, end in pairwise([b"", *borders, b""])]
    assert [sum(span.holds(node) for span in spans) for node in nodes] == [1] * len(nodes)


@given(paths, st.lists(names, max_size=2), paths, paths)
def test_a_span_reaches_a_folder_when_it_may_hold_something_in_it(folder, below, begin, end):
    span = Span(begin, end)
    node = b"/".join([folder, *below])
    assert not span.holds(node) or span.reaches(folder)
    assert not span.covers(folder) or span.holds(node)


def test_a_survey_cuts_between_folders_and_never_inside_of_one():
    folders = [(b"a", 10), (b"a/b", 900_000), (b"c", 100_000), (b"d", 100_000), (b"e", 100_000)]
    spans = spans_of_survey(Survey(folders, cut_off=False), workers=2, sharding=DEFAULT)
    assert {span.begin for span in spans} <= {b"", *(path for path, _ in folders)}
    assert len(spans) > 2
    assert sum(span.reaches(b"a/b") and span.holds(b"a/b/file") for span in spans) == 1


def test_a_survey_that_saw_all_of_a_small_item_cuts_nothing():
    survey = Survey([(b"a", 100), (b"b", 100)], cut_off=False)
    assert spans_of_survey(survey, workers=9, sharding=DEFAULT) == [EVERYTHING]


def test_a_survey_that_was_cut_off_has_seen_a_large_item():
    folders = [(b"d%04d" % number, 100 if number % 3 else 0) for number in range(2000)]
    spans = spans_of_survey(Survey(folders, cut_off=True), workers=2, sharding=DEFAULT)
    assert len(spans) == 8


@pytest.mark.parametrize("survey", [Survey([], cut_off=False), Survey([(b"", 0)], cut_off=False)])
def test_an_empty_item_is_not_cut(survey):
    assert spans_of_survey(survey, workers=9, sharding=Sharding(entries=0)) == [EVERYTHING]
