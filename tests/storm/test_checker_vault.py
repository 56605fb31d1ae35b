"""A checker that cannot fail is a defect: what is wrong in a vault or in a restored tree has to be found.

Rule of the file: a sound vault with two points first; then one thing is broken by hand.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shared.crypto.slots import seal_slot
from shared.storage.open import create_store
from tests.storm.checker.canaries import Canaries
from tests.storm.checker.catalog import disagreements
from tests.storm.checker.restores import Expected, Opened, unlike_oracle
from tests.support.copying import copy_tree
from tests.unit.engine.rig import Rig

PASSPHRASE = "correct horse battery staple"


class Rows:
    """A catalog that answers every question about points with these rows."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self.points = rows

    def rows(self, sql: str, **_: object) -> list[dict[str, Any]]:
        leaving = "'expiring'" in sql  # asked apart, and there are none
        return self.points if "recovery_point" in sql and not leaving else []


class Place:
    """A vault with two points of one tree, their oracle copies, and what a catalog would say."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.vault, self.tree = folder, folder / "vault", folder / "tree"
        rig = Rig(create_store(f"file://{self.vault}"))
        rig.vault.put_machine_card("machine", "the machine", [seal_slot(b"k" * 32, PASSPHRASE, machine_id="machine")])
        self.expected: list[Expected] = []
        catalog = []
        for number in range(2):
            self.tree.mkdir(exist_ok=True)
            (self.tree / "file").write_bytes(b"%d" % number * 1000)
            (self.tree / f"file{number}").write_bytes(b"more")
            oracle = folder / f"oracle{number}"
            copy_tree(str(self.tree), str(oracle))
            point = rig.backup(str(self.tree)).point
            self.expected.append(Expected(point.point_id, self.tree, oracle))
            catalog.append(
                {
                    "id": point.point_id,
                    "job_id": f"job{number}",
                    "machine_id": "machine",
                    "item_id": "item",
                    "state": "sealed",
                    "manifest": point.manifest,
                    "manifest_sha256": point.manifest_sha256,
                }
            )
        self.catalog = Rows(catalog)
        (folder / "passphrase").write_text(PASSPHRASE + "\n")

    def manifest(self, number: int) -> Path:
        return self.vault / str(self.catalog.points[number]["manifest"])

    def disagreements(self) -> list[str]:
        return [str(violation) for violation in disagreements(self.catalog, {"v1": self.vault})]  # type: ignore[arg-type]

    def unlike_oracle(self) -> list[str]:
        opened = Opened(self.vault, "machine", self.folder / "passphrase")
        place = self.folder / "read"
        place.mkdir()
        return [str(violation) for violation in unlike_oracle(opened, self.expected, place)]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_a_sound_vault_agrees_with_its_catalog_and_its_oracles(place: Place) -> None:
    assert place.disagreements() == []
    assert place.unlike_oracle() == []


def forget_a_row(place: Place) -> None:
    del place.catalog.points[1]


def lose_a_manifest(place: Place) -> None:
    place.manifest(0).unlink()


def exchange_a_manifest(place: Place) -> None:
    place.manifest(0).write_bytes(place.manifest(1).read_bytes())


def catalog_another_place(place: Place) -> None:
    moved = "points/machine/item/elsewhere"
    place.manifest(0).rename(place.vault / moved)
    place.catalog.points[0]["manifest"] = moved


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (forget_a_row, "the catalog has not"),
        (lose_a_manifest, "has no manifest in vault v1"),
        (exchange_a_manifest, "is not the one cataloged"),
        (catalog_another_place, "is cataloged as points/machine/item/elsewhere"),
    ],
)
def test_a_vault_and_a_catalog_that_disagree_are_found(place: Place, harm: Callable[[Place], None], said: str) -> None:
    harm(place)
    assert any(said in line for line in place.disagreements())


def other_bytes(place: Place) -> None:
    (place.expected[1].oracle / "file").write_bytes(b"2" * 1000)


def other_mode(place: Place) -> None:
    (place.expected[1].oracle / "file").chmod(0o600)


def one_file_more(place: Place) -> None:
    (place.expected[0].oracle / "another").write_bytes(b"")


def one_file_less(place: Place) -> None:
    (place.expected[0].oracle / "file0").unlink()


def oracles_exchanged(place: Place) -> None:
    first, second = place.expected
    place.expected = [Expected(first.point, place.tree, second.oracle), second]


def packs_lost(place: Place) -> None:
    shutil.rmtree(place.vault / "packs" / "d")


def bit_flipped(place: Place) -> None:
    for pack in (place.vault / "packs" / "d").rglob("*"):
        if pack.is_file():
            data = bytearray(pack.read_bytes())
            data[len(data) // 3] ^= 1
            pack.write_bytes(data)


def no_such_point(place: Place) -> None:
    place.expected.append(Expected("0" * 32, place.tree, place.expected[0].oracle))


@pytest.mark.parametrize(
    "harm",
    [other_bytes, other_mode, one_file_more, one_file_less, oracles_exchanged, packs_lost, bit_flipped, no_such_point],
)
def test_a_point_that_brings_back_something_else_is_found(place: Place, harm: Callable[[Place], None]) -> None:
    harm(place)
    assert any(line.startswith("I6") for line in place.unlike_oracle())


def test_plaintext_in_a_vault_is_found(place: Place) -> None:
    canaries = Canaries({"the plaintext": hashlib.sha256(b"marker").hexdigest().encode()})
    assert canaries.in_files(place.vault.rglob("*"), "vault") == []
    place.manifest(0).write_bytes(b"..." + hashlib.sha256(b"marker").hexdigest().encode())
    assert len(canaries.in_files(place.vault.rglob("*"), "vault")) == 1
