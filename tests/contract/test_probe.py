"""Before a vault is made, its store proves itself; what fails is named, and nothing is left behind."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from orchestrator.vault_port import VaultsOnStorage
from shared.errors import SkyharborError
from shared.storage.faulty import Fault, FaultKind, FaultyStore, Verb
from shared.storage.flawed import Flaw, FlawedStore
from shared.storage.local_files import sync
from shared.storage.memory import MemoryStore
from shared.storage.metered import MeteredStore
from shared.storage.object_store import ObjectStore
from shared.storage.probe import probe
from shared.storage.retrying import RetryingStore
from shared.storage.s3 import S3Store
from tests.support.clock import FakeClock
from tests.support.flawed_s3 import FlawedS3
from tests.support.seaweed import SeaweedAccess


def refusal(store: ObjectStore) -> SkyharborError:
    with pytest.raises(SkyharborError) as caught:
        probe(store)
    return caught.value


@pytest.mark.parametrize("flaw", Flaw)
def test_every_flaw_is_found(flaw: Flaw) -> None:
    assert refusal(FlawedStore(MemoryStore(), flaw)).code == "store-unsafe"


@pytest.mark.parametrize("flaw", [flaw for flaw in Flaw if flaw is not Flaw.KEEPS_DELETED])
def test_nothing_is_left_in_a_store_that_was_found_wanting(flaw: Flaw) -> None:
    inner = MemoryStore()
    refusal(FlawedStore(inner, flaw))
    assert list(inner.list()) == []


@pytest.mark.parametrize("flaw", [Flaw.OVERWRITES, Flaw.OVERWRITES_SILENTLY])
def test_who_is_refused_for_overwriting_is_told_what_to_use_instead(flaw: Flaw) -> None:
    error = refusal(RetryingStore(FlawedStore(MemoryStore(), flaw)))
    assert ("overwrites" in error.detail, "If-None-Match" in str(error.fields["hint"])) == (True, True)


@pytest.mark.parametrize(("verb", "nth"), [(Verb.GET, 1), (Verb.GET, 2), (Verb.GET, 3), (Verb.SIZE, 1)])
def test_a_store_that_returns_other_bytes_is_found_unsafe(verb: Verb, nth: int) -> None:
    inner = MemoryStore()
    error = refusal(FaultyStore(inner, [Fault(verb=verb, nth=nth, kind=FaultKind.TEAR)]))
    assert (error.code, list(inner.list())) == ("store-unsafe", [])


@pytest.mark.parametrize("verb", [Verb.PUT, Verb.GET, Verb.SIZE, Verb.LIST])
@pytest.mark.parametrize("kind", [FaultKind.FAIL, FaultKind.LOSE_REPLY])
def test_a_store_that_fails_half_way_is_in_trouble_not_unsafe_and_left_empty(verb: Verb, kind: FaultKind) -> None:
    inner = MemoryStore()
    error = refusal(FaultyStore(inner, [Fault(verb=verb, nth=1, kind=kind)]))
    assert (error.code, list(inner.list())) == ("store-unreachable", [])


def test_a_bad_line_alone_condemns_nobody() -> None:
    lost = [Fault(verb=verb, nth=n, kind=FaultKind.LOSE_REPLY) for verb in Verb for n in range(1, 40, 3)]
    assert probe(RetryingStore(FaultyStore(MemoryStore(), lost), clock=FakeClock())) == ()


def s3(server: FlawedS3) -> ObjectStore:
    config = server.config()
    return MeteredStore(RetryingStore(S3Store("bucket", secrets.token_hex(4), config=config)))  # type: ignore[arg-type]


def test_a_server_that_answers_200_and_overwrites_is_refused() -> None:
    with FlawedS3(overwrites=True) as server:
        error = refusal(s3(server))
        assert (error.code, "overwrites" in error.detail, server.objects) == ("store-unsafe", True, {})


def test_the_same_server_that_keeps_its_word_is_accepted_without_remarks() -> None:
    with FlawedS3() as server:
        assert (probe(s3(server)), server.objects) == ((), {})


def test_a_server_that_takes_any_checksum_is_accepted_and_that_is_told() -> None:
    with FlawedS3(checks_md5=False) as server:
        [remark] = probe(s3(server))
        assert (remark.startswith("it takes a body"), server.objects) == (True, {})


def test_a_server_that_cannot_be_asked_is_accepted_and_that_is_told() -> None:
    with FlawedS3(presigned=False) as server:
        [remark] = probe(s3(server))
        assert ("could not be found out" in remark, server.objects) == (True, {})


def test_seaweedfs_keeps_every_promise_and_has_every_comfort(seaweed: SeaweedAccess) -> None:
    store = S3Store("exam", secrets.token_hex(8), config=seaweed.config())  # type: ignore[arg-type]
    assert (probe(store), list(store.list())) == ((), [])


def test_no_vault_is_made_on_a_server_that_overwrites(monkeypatch: pytest.MonkeyPatch) -> None:
    with FlawedS3(overwrites=True) as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        with pytest.raises(SkyharborError) as caught:
            VaultsOnStorage().create("s3://bucket/vault", name="v")
        assert (caught.value.code, server.objects) == ("store-unsafe", {})


def test_what_a_new_vault_will_have_to_do_without_is_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    with FlawedS3(checks_md5=False) as server, capture_logs() as logs:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        VaultsOnStorage().create("s3://bucket/vault", name="v")
        assert [(line["event"], line["store"]) for line in logs] == [("store.lacks", "s3://bucket/vault")]
        assert sorted(server.objects) == ["vault/vault.json"]


def test_a_file_system_that_cannot_sync_is_unsafe_and_not_merely_in_trouble() -> None:
    reading, writing = os.pipe()  # a pipe has no disk to sync to, and says so
    try:
        with pytest.raises(SkyharborError) as caught:
            sync(writing)
    finally:
        os.close(reading)
        os.close(writing)
    assert (caught.value.code, "fsync" in caught.value.detail) == ("store-unsafe", True)


def test_a_folder_that_proved_itself_holds_nothing_but_the_vault(tmp_path: Path) -> None:
    VaultsOnStorage().create(f"file://{tmp_path}/vault", name="v")
    assert sorted(os.listdir(tmp_path / "vault")) == ["tmp", "vault.json"]
    assert os.listdir(tmp_path / "vault" / "tmp") == []
