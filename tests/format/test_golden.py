"""Vaults of every format version are read for ever."""

from __future__ import annotations

import pytest

from shared.crypto.domain_keys import DomainKeys
from shared.crypto.slots import open_slots
from shared.storage.local import LocalStore
from shared.vault.index import ChunkIndex
from shared.vault.layout import PointName, point_name
from shared.vault.reader import PointReader, read_point_slots
from shared.vault.vault import Vault, open_vault
from tests.format.golden_vaults import Described, GoldenMachine, GoldenVault, golden_vaults
from tests.format.make_golden import described, described_body

VAULTS = golden_vaults()
MACHINES = [
    pytest.param(golden, machine, id=f"{golden.name}-{machine.name}")
    for golden in VAULTS
    for machine in golden.machines
]


def opened(golden: GoldenVault, machine: GoldenMachine) -> tuple[Vault, DomainKeys]:
    vault = open_vault(LocalStore(str(golden.vault)))
    card = vault.machine_card(machine.id)
    assert card is not None
    assert card.name == machine.name
    return vault, DomainKeys.derive(open_slots(card.slots, machine.passphrase, machine_id=card.id))


def points(vault: Vault, machine: GoldenMachine) -> dict[str, PointName]:
    return {point.point_id: point for point in vault.points(machine.id)}


def everything(reader: PointReader) -> list[Described]:
    return [described(entry, b"".join(reader.read_chunks(entry.chunks))) for entry in reader.entries()]


@pytest.mark.parametrize("with_index", [True, False])
@pytest.mark.parametrize(("golden", "machine"), MACHINES)
def test_every_point_of_a_golden_vault_reads_as_it_was_written(
    golden: GoldenVault, machine: GoldenMachine, with_index: bool
) -> None:
    vault, keys = opened(golden, machine)
    index = ChunkIndex.load(vault, machine.id, keys, cache_dir=None) if with_index else None
    read = {
        point_id: everything(PointReader.open(vault, keys, **point._asdict(), index=index))
        for point_id, point in points(vault, machine).items()
    }
    assert read == {point_id: golden.points[point_id] for point_id in golden.points_of(machine)}


@pytest.mark.parametrize(("golden", "machine"), MACHINES)
def test_every_golden_point_belongs_to_a_machine_that_is_read(golden: GoldenVault, machine: GoldenMachine) -> None:
    assert sorted(point for one in golden.machines for point in golden.points_of(one)) == sorted(golden.points)
    assert golden.points_of(machine) != []


def test_the_description_of_the_first_golden_point_is_kept() -> None:
    golden = VAULTS[0]
    vault, keys = opened(golden, golden.machines[0])
    body = PointReader.open(vault, keys, **vault.points(golden.machines[0].id)[1]._asdict()).body
    assert (body.machine_name, body.item_name, body.paths, body.type, body.epoch) == (
        "atlas",
        "srv",
        ("/srv",),
        "incremental",
        3,
    )
    assert [(notice.path, notice.code) for notice in body.notices] == [("/srv/locked", "unreadable")]


@pytest.mark.parametrize(("golden", "machine"), MACHINES)
def test_the_descriptions_of_golden_points_are_kept(golden: GoldenVault, machine: GoldenMachine) -> None:
    vault, keys = opened(golden, machine)
    read = {
        point_id: described_body(PointReader.open(vault, keys, **point._asdict()).body)
        for point_id, point in points(vault, machine).items()
        if point_id in golden.bodies
    }
    assert read == {point: golden.bodies[point] for point in golden.points_of(machine) if point in golden.bodies}


@pytest.mark.parametrize(("golden", "machine"), MACHINES)
def test_a_golden_point_alone_gives_its_key_to_the_passphrase(golden: GoldenVault, machine: GoldenMachine) -> None:
    vault, keys = opened(golden, machine)
    for point in vault.points(machine.id):
        header = read_point_slots(vault.store.get(point_name(point)))
        dek = open_slots(header.slots, machine.passphrase, machine_id=header.machine)
        assert DomainKeys.derive(dek) == keys


def test_there_is_a_golden_vault_of_every_version() -> None:
    assert [golden.name for golden in VAULTS] == ["v1", "v1-final"]
