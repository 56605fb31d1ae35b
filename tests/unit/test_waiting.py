"""A process with many open files waits for its newest ones as well."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator

import pytest

from shared.waiting import readable


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe whose ends have numbers above those that select(2) knows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < 2500:
        if hard != resource.RLIM_INFINITY and hard < 2500:
            pytest.skip(f"no more than {hard} descriptors may be open here")
        resource.setrlimit(resource.RLIMIT_NOFILE, (2500, hard))
    reader, writer = os.pipe()
    far = os.dup2(reader, 2000), os.dup2(writer, 2001)
    os.close(reader)
    os.close(writer)
    yield far
    for one in far:
        os.close(one)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_descriptors_beyond_a_thousand_can_be_waited_for(pipe: tuple[int, int]) -> None:
    """select(2) ends with "filedescriptor out of range": no share, cluster or guard could be reached any more."""
    reader, writer = pipe
    before = readable(reader, seconds=0)
    os.write(writer, b"x")
    assert (before, readable(reader)) == ([], [reader])


def test_an_end_is_something_to_read(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    os.close(os.dup2(os.open(os.devnull, os.O_RDONLY), writer))
    assert readable(reader, seconds=60) == [reader]
    os.dup2(reader, writer)


def test_a_closed_descriptor_is_an_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    os.close(writer)
    with pytest.raises(OSError, match="Bad file descriptor"):
        readable(reader)
