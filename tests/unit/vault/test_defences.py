"""The second lines of defence: what authenticates and is nonsense all the same is refused too."""

from __future__ import annotations

import os

import numpy as np
import pytest

from shared.errors import SkyharborError
from shared.vault import layout
from shared.vault.binary import pack_head, read_head
from shared.vault.chunk_table import SEGMENT_DTYPE, ChunkTable, PackInfo, SegmentRef, make_table
from shared.vault.compression import compress_sized
from shared.vault.index_segment import decode_index, encode_index
from shared.vault.pack_format import DIRECTORY_ORDINAL, directory_aad, encode_directory, open_directory
from shared.vault.segment_source import GAP, RUN, runs
from tests.unit.vault.bench import KEYS, MACHINE

VAULT_ID = "7d7f3a52-9d11-4b8e-9d20-000000000001"
OTHER_ID = "7d7f3a52-9d11-4b8e-9d20-000000000002"
INFO = PackInfo(layout.pack_name(layout.KIND_DATA, bytes(32)), bytes(32), 1000)
NONSENSE = [
    {"offset": 63},  # inside the header
    {"offset": 985},  # frame and ciphertext reach behind the end
    {"stored": 15},  # no room for a tag
    {"stored": 2**32 - 1},
    {"raw": 2**32 - 1},
    {"raw": 9},  # the chunk needs ten bytes
]


def segments(**changes: int) -> np.ndarray:
    one = np.zeros(1, dtype=SEGMENT_DTYPE)
    one["offset"], one["stored"], one["raw"] = 64, 50, 10
    for name, value in changes.items():
        one[name] = value
    return one


def table(**changes: int) -> ChunkTable:
    zero, ten = np.zeros(1, dtype=np.uint32), np.full(1, 10, dtype=np.uint32)
    return make_table([INFO], segments(**changes), bytes(32), segment=zero, raw_offset=zero, raw_length=ten)


@pytest.mark.parametrize("changes", [*NONSENSE, {"pack": 1}])
def test_an_index_that_points_outside_its_packs_is_refused(changes: dict[str, int]) -> None:
    lying = encode_index(table(**changes), keys=KEYS, vault_id=VAULT_ID, machine_id=MACHINE)
    with pytest.raises(SkyharborError, match=r"inside|belongs") as caught:
        decode_index(lying, name="index", keys=KEYS, vault_id=VAULT_ID, machine_id=MACHINE)
    assert caught.value.code == "object-damaged"


def test_an_honest_index_is_read() -> None:
    honest = encode_index(table(), keys=KEYS, vault_id=VAULT_ID, machine_id=MACHINE)
    assert bytes(32) == decode_index(honest, name="index", keys=KEYS, vault_id=VAULT_ID, machine_id=MACHINE).ids()


@pytest.mark.parametrize("changes", NONSENSE)
def test_a_directory_that_points_outside_its_pack_is_refused(changes: dict[str, int]) -> None:
    one, ten = np.ones(1, dtype="<u4"), np.full(1, 10, dtype="<u4")
    plain = compress_sized(encode_directory(segments(**changes), one, ten, bytes(32)), 3)
    aad = directory_aad(layout.KIND_DATA, VAULT_ID)
    sealed = KEYS.pack_cipher(INFO.salt).seal(DIRECTORY_ORDINAL, plain, aad)
    with pytest.raises(SkyharborError, match="inside"):
        open_directory(sealed, info=INFO, keys=KEYS, vault_id=VAULT_ID, kind=layout.KIND_DATA)


def test_an_index_of_another_machine_is_refused() -> None:
    data = encode_index(table(), keys=KEYS, vault_id=VAULT_ID, machine_id=MACHINE)
    with pytest.raises(SkyharborError, match="authenticate"):
        decode_index(data, name="index", keys=KEYS, vault_id=VAULT_ID, machine_id="another")


@pytest.mark.parametrize("position", [0, 8, 10, 11, 12, 16])
def test_a_head_with_any_other_field_is_refused(position: int) -> None:
    data = bytearray(pack_head(b"SKYPACK1", kind=1, vault_id=VAULT_ID, salt=os.urandom(32)))
    data[position] ^= 1
    with pytest.raises(SkyharborError) as caught:
        read_head(bytes(data), b"SKYPACK1", kind=1, vault_id=VAULT_ID)
    assert caught.value.code == "object-damaged"


def test_an_object_of_another_vault_is_refused() -> None:
    salt = os.urandom(32)
    head = pack_head(b"SKYPACK1", kind=1, vault_id=VAULT_ID, salt=salt)
    assert read_head(head, b"SKYPACK1", kind=1, vault_id=VAULT_ID) == salt
    with pytest.raises(SkyharborError, match="somewhere else"):
        read_head(head, b"SKYPACK1", kind=1, vault_id=OTHER_ID)


def ref(offset: int, stored: int = 84, pack: str = "a") -> SegmentRef:
    return SegmentRef(pack, b"", offset, stored, 0, 0)


@pytest.mark.parametrize(
    ("refs", "lengths"),
    [
        ([], []),
        ([ref(0), ref(100), ref(200)], [3]),
        ([ref(0), ref(100 + GAP), ref(201 + 2 * GAP)], [2, 1]),
        ([ref(0), ref(100, pack="b")], [1, 1]),
        ([ref(100), ref(0)], [1, 1]),
        ([ref(0, RUN), ref(RUN + 16)], [1, 1]),
        ([ref(0, RUN // 2), ref(RUN // 2 + 16, RUN // 2 - 32), ref(RUN)], [2, 1]),
    ],
)
def test_neighbouring_segments_share_a_request(refs: list[SegmentRef], lengths: list[int]) -> None:
    assert [len(run) for run in runs(refs)] == lengths
