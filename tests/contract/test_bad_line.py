"""What becomes of calls when the line to a real S3 server, or the server at its end, is in trouble."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator

import pytest

from shared.clock import SystemClock
from shared.errors import SkyharborError
from shared.storage.object_store import ObjectStore
from shared.storage.retrying import RetryingStore, RetryRule
from shared.storage.s3 import Deadlines, S3Store
from tests.support.fault_proxy import FaultProxy, LineFault, Trouble
from tests.support.seaweed import SeaweedAccess

SHORT = Deadlines(connect=2.0, silence=1.5, whole=6.0)
"""What takes 30 s and 300 s in earnest."""

QUICK = RetryRule(attempts=12, first_pause=0.001, longest_pause=0.002)
PACK = "packs/d/0a/" + "ab" * 32
LARGE = os.urandom(3 * 1024 * 1024)


@pytest.fixture
def line(seaweed: SeaweedAccess) -> Iterator[FaultProxy]:
    with FaultProxy(seaweed.endpoint) as proxy:
        yield proxy


@pytest.fixture
def impatient(seaweed: SeaweedAccess, line: FaultProxy) -> Iterator[ObjectStore]:
    """A store behind the line that tries everything once."""
    config = {**seaweed.config(), "endpoint": line.endpoint}
    store = S3Store("exam", secrets.token_hex(8), config=config, deadlines=SHORT)  # type: ignore[arg-type]
    yield store
    store.close()


@pytest.fixture
def patient(impatient: ObjectStore) -> ObjectStore:
    return RetryingStore(impatient, rule=QUICK)


def code_of(store: ObjectStore, body: bytes = b"x") -> str:
    with pytest.raises(SkyharborError) as caught:
        store.put(PACK, [body])
    return caught.value.code


def test_a_storm_of_refusals_is_waited_out_by_every_verb(line: FaultProxy, patient: ObjectStore) -> None:
    storm = [
        LineFault(trouble=Trouble.REFUSE, status=status, word=word)
        for status, word in ((503, "SlowDown"), (500, "InternalError"), (502, "-"), (429, "SlowDown"), (504, "-"))
    ]
    for method in ("PUT", "HEAD", "POST"):  # obstore deletes by POST
        line.plan(method, *storm)
    assert patient.put(PACK, [b"0123456789"])
    line.plan("GET", *storm)
    assert patient.get(PACK, offset=2, length=3) == b"234"
    line.plan("GET", *storm)
    assert [info.name for info in patient.list()] == [PACK]
    assert (patient.size(PACK), patient.delete(PACK), patient.size(PACK)) == (10, True, None)
    assert line.requests["PUT"] == 6


def test_the_reply_to_a_put_is_lost_and_the_put_still_knows_that_it_created(
    line: FaultProxy, patient: ObjectStore
) -> None:
    line.plan("PUT", *[LineFault(trouble=Trouble.LOSE_REPLY)] * 3)
    assert patient.put(PACK, [LARGE[:1000], LARGE[1000:]])
    assert (patient.put(PACK, [b"other"]), patient.get(PACK) == LARGE, line.requests["PUT"]) == (False, True, 5)


def test_a_lost_reply_and_the_conflict_with_ones_own_put_end_in_the_truth(
    line: FaultProxy, patient: ObjectStore
) -> None:
    conflict = LineFault(trouble=Trouble.REFUSE, status=409, word="ConditionalRequestConflict")
    line.plan("PUT", conflict, LineFault(trouble=Trouble.LOSE_REPLY), conflict)
    assert (patient.put(PACK, [b"x"]), patient.get(PACK)) == (True, b"x")


def test_a_reply_cut_short_is_never_taken_for_the_object(line: FaultProxy, patient: ObjectStore) -> None:
    patient.put(PACK, [LARGE])
    line.plan("GET", *[LineFault(trouble=Trouble.CUT_REPLY)] * 3)
    assert patient.get(PACK) == LARGE
    line.plan("GET", LineFault(trouble=Trouble.CUT_REPLY))
    assert patient.get(PACK, offset=1, length=1_000_000) == LARGE[1:1_000_001]
    line.plan("GET", LineFault(trouble=Trouble.CUT_REPLY))
    assert [info.size for info in patient.list("packs/")] == [len(LARGE)]


@pytest.mark.parametrize(
    ("body", "at_most"), [(b"x", SHORT.whole), (LARGE, 3 * SHORT.whole)], ids=["by silence", "by size"]
)
def test_a_put_on_a_silent_line_ends_by_its_deadline(
    line: FaultProxy, impatient: ObjectStore, body: bytes, at_most: float
) -> None:
    line.plan("PUT", LineFault(trouble=Trouble.STALL))
    began = SystemClock().monotonic()
    assert code_of(impatient, body) == "store-unreachable"
    assert SystemClock().monotonic() - began < at_most
    assert impatient.put(PACK, [body])


def test_reading_on_a_silent_line_ends_by_its_deadline_and_is_tried_again(
    line: FaultProxy, patient: ObjectStore
) -> None:
    patient.put(PACK, [b"x"])
    for method in ("GET", "HEAD", "POST"):
        line.plan(method, LineFault(trouble=Trouble.STALL))
    assert (patient.get(PACK), patient.size(PACK), patient.delete(PACK)) == (b"x", 1, True)


def test_a_large_put_on_a_slow_line_may_take_longer_than_a_silence(line: FaultProxy, impatient: ObjectStore) -> None:
    line.plan("PUT", LineFault(trouble=Trouble.CRAWL, bytes_per_second=len(LARGE) / (2.5 * SHORT.silence)))
    assert impatient.put(PACK, [LARGE])


@pytest.mark.parametrize("word", ["RequestTimeout", "IncompleteBody", "BadDigest", "XAmzContentSHA256Mismatch"])
def test_a_400_that_blames_the_line_is_tried_again(line: FaultProxy, patient: ObjectStore, word: str) -> None:
    line.plan("PUT", LineFault(trouble=Trouble.REFUSE, status=400, word=word))
    assert patient.put(PACK, [b"x"])


@pytest.mark.parametrize(
    ("status", "word", "code"),
    [(400, "InvalidArgument", "store-denied"), (403, "AccessDenied", "store-denied"), (507, "-", "store-full")],
)
def test_a_refusal_in_earnest_is_not_tried_again(
    line: FaultProxy, patient: ObjectStore, status: int, word: str, code: str
) -> None:
    line.plan("PUT", LineFault(trouble=Trouble.REFUSE, status=status, word=word))
    assert (code_of(patient), line.requests["PUT"]) == (code, 1)
