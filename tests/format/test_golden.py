"""Vaults of every format version are read for ever."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shared.crypto.domain_keys import DomainKeys
from shared.crypto.slots import open_slots
from shared.storage.local import LocalStore
from shared.vault.index import ChunkIndex
from shared.vault.layout import point_name
from shared.vault.reader import PointReader, read_point_slots
from shared.vault.vault import Vault, open_vault
from tests.format.make_golden import GOLDEN, MACHINE, PASSPHRASE, described


@pytest.fixture(scope="module")
def vault() -> Vault:
    return open_vault(LocalStore(str(GOLDEN / "vault")))


@pytest.fixture(scope="module")
def keys(vault: Vault) -> DomainKeys:
    (card,) = vault.machine_cards()
    return DomainKeys.derive(open_slots(card.slots, PASSPHRASE, machine_id=card.id))


def everything(reader: PointReader) -> list[dict[str, object]]:
    return [described(entry, b"".join(reader.read_chunks(entry.chunks))) for entry in reader.entries()]


@pytest.mark.parametrize("with_index", [True, False])
def test_every_point_of_the_golden_vault_reads_as_it_was_written(
    vault: Vault, keys: DomainKeys, with_index: bool
) -> None:
    index = ChunkIndex.load(vault, MACHINE, keys, cache_dir=None) if with_index else None
    read = {
        point.point_id: everything(PointReader.open(vault, keys, **point._asdict(), index=index))
        for point in vault.points(MACHINE)
    }
    assert read == json.loads((GOLDEN / "expected.json").read_text())


def test_the_description_of_a_golden_point_is_kept(vault: Vault, keys: DomainKeys) -> None:
    body = PointReader.open(vault, keys, **vault.points(MACHINE)[1]._asdict()).body
    assert (body.machine_name, body.item_name, body.paths, body.type, body.epoch) == (
        "atlas",
        "srv",
        ("/srv",),
        "incremental",
        3,
    )
    assert [(notice.path, notice.code) for notice in body.notices] == [("/srv/locked", "unreadable")]


def test_a_golden_point_alone_gives_its_key_to_the_passphrase(vault: Vault, keys: DomainKeys) -> None:
    for point in vault.points(MACHINE):
        header = read_point_slots(vault.store.get(point_name(point)))
        dek = open_slots(header.slots, PASSPHRASE, machine_id=header.machine)
        assert DomainKeys.derive(dek) == keys


def test_there_is_a_golden_vault_of_every_version() -> None:
    assert [path.name for path in sorted(Path(GOLDEN).parent.iterdir())] == ["v1"]
