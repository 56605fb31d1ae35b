"""Whatever bytes lie in the store: a decoder returns exactly what was written, or says ``object-damaged``.

Behind the cipher the same with plaintext that the real key has sealed: whoever holds a machine's key, or a defect of
ours, must not be able to crash a reader or to make it take all memory either.
"""

from __future__ import annotations

import functools
import hashlib
import json
import random
import struct
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.crypto import slots as slots_module
from shared.crypto.slots import open_slots, seal_slot
from shared.errors import SkyharborError
from shared.storage.memory import MemoryStore
from shared.vault import layout
from shared.vault.binary import HEAD_SIZE, binding, pack_head, read_head
from shared.vault.chunk_table import ChunkTable, PackInfo, merge
from shared.vault.compression import compress_sized, expand_sized
from shared.vault.index import ChunkIndex
from shared.vault.index_segment import decode_index
from shared.vault.manifest import Manifest, decode_manifest, read_point_slots
from shared.vault.manifest_header import open_header
from shared.vault.pack_format import (
    DIRECTORY_ORDINAL,
    FRAME,
    FRAME_MAGIC,
    MAGIC,
    TRAILER,
    TRAILER_SIZE,
    directory_aad,
    open_directory,
    segment_aad,
    xor16,
)
from shared.vault.pack_presence import mark_damaged, marked_packs
from shared.vault.pack_reading import prove_pack, read_directory, scan_frames
from shared.vault.pages import decode_columns, encode_page
from shared.vault.reader import PointReader
from shared.vault.segment import decode_segment, encode_segment
from shared.vault.vault import open_vault
from tests.faults.hostile import LIES, MIB, at_most, lying, mutations, outcome
from tests.support.counts import Tally
from tests.unit.vault.bench import ITEM, KEYS, MACHINE, Bench, file_entry, new_bench, point_id

MATRIX = "decoders"
DAMAGED = "object-damaged"
LOST = (DAMAGED, "object-missing")
MOST = 16 * MIB
"""No decoder takes more for a small object, whatever the object says about itself."""

many = settings(
    max_examples=400,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


TREE = {b"a": b"text " * 50, b"b": random.Random(7).randbytes(250), b"c": random.Random(8).randbytes(450), b"d": b""}


@functools.cache
def objects() -> dict[str, bytes]:
    """A sound vault of one point, with one object of every kind at least."""
    bench = new_bench()
    bench.write(1, TREE)
    return {name: bench.store.get(name) for name in bench.names()}


def one(prefix: str) -> str:
    return next(name for name in objects() if name.startswith(prefix))


def bench_with(name: str | None = None, data: bytes = b"") -> Bench:
    """The sound vault with one object replaced."""
    store = MemoryStore()
    for other, sound in objects().items():
        store.put(other, [sound if other != name else data])
    return Bench(open_vault(store))


@functools.cache
def vault_id() -> str:
    return bench_with().vault.id


POINT = layout.PointName(MACHINE, ITEM, point_id(1))
PACKS = ("packs/d/", "packs/m/")


def rows(table: ChunkTable) -> list[tuple[bytes, object]]:
    ids = table.ids()
    places = table.locations(np.arange(len(table), dtype=np.int64))
    return [(ids[32 * at : 32 * at + 32], place) for at, place in enumerate(places)]


def mutated(prefix: str) -> st.SearchStrategy[bytes]:
    return st.deferred(lambda: mutations(objects()[one(prefix)]))


# ── as they lie in the store ─────────────────────────────────────────────────────────────────────────


def exactly(tally: Tally, decode: Callable[[bytes], object], sound: bytes, data: bytes, *codes: str) -> None:
    """The bytes decode to what the sound ones decode to, or to an error with one of the codes."""
    tally.add("inputs tried")
    found = outcome(lambda: decode(data), *(codes or (DAMAGED,)))
    if not isinstance(found, SkyharborError):
        assert found == decode(sound)
    else:
        tally.add("refused")


@many
@given(data=st.data())
@pytest.mark.parametrize("prefix", PACKS)
def test_the_head_of_a_pack(prefix: str, data: st.DataObject, tally: Tally) -> None:
    kind = layout.KIND_DATA if prefix == PACKS[0] else layout.KIND_META
    sound = pack_head(MAGIC, kind=kind, vault_id=vault_id(), salt=bytes(32))
    changed = data.draw(mutations(sound))
    decoded = outcome(lambda: read_head(changed, MAGIC, kind=kind, vault_id=vault_id()), DAMAGED)
    tally.add("inputs tried")
    # The salt is proven by what it opens, and not here.
    assert isinstance(decoded, SkyharborError) or (len(decoded) == 32 and changed[:32] == sound[:32])


@many
@given(data=st.data())
@pytest.mark.parametrize("prefix", PACKS)
def test_the_directory_of_a_pack(prefix: str, data: st.DataObject, tally: Tally) -> None:
    name, sound = one(prefix), objects()[one(prefix)]

    def decode(pack: bytes) -> object:
        return rows(read_directory(bench_with(name, pack).store, name, len(sound), keys=KEYS, vault_id=vault_id()))

    exactly(tally, decode, sound, data.draw(mutations(sound)))


@many
@given(data=st.data())
@pytest.mark.parametrize("prefix", PACKS)
def test_the_frames_of_a_pack(prefix: str, data: st.DataObject, tally: Tally) -> None:
    """A scan may find less, and other places; every chunk that it finds is one that was written."""
    name, sound = one(prefix), objects()[one(prefix)]

    def decode(pack: bytes) -> set[bytes]:
        table = scan_frames(bench_with(name, pack).store, name, len(pack), keys=KEYS, vault_id=vault_id())
        return {chunk_id for chunk_id, _ in rows(table)}

    tally.add("inputs tried")
    changed = data.draw(mutations(sound))
    found = outcome(lambda: decode(changed), DAMAGED)
    assert isinstance(found, SkyharborError) or found <= decode(sound)  # type: ignore[operator]


@many
@given(data=st.data())
@pytest.mark.parametrize("prefix", PACKS)
def test_a_whole_pack(prefix: str, data: st.DataObject, tally: Tally) -> None:
    name, sound = one(prefix), objects()[one(prefix)]
    read: list[int] = []

    def decode(pack: bytes) -> object:
        bench = bench_with(name, pack)
        return prove_pack(bench.store, name, len(sound), keys=KEYS, vault_id=vault_id(), on_read=read.append)

    changed = data.draw(mutations(sound))
    exactly(tally, decode, sound, changed)
    assert changed[: len(sound)] == sound or isinstance(outcome(lambda: decode(changed), DAMAGED), SkyharborError)


@many
@given(mutated(layout.INDEX))
def test_an_index_segment(tally: Tally, data: bytes) -> None:
    name = one(layout.INDEX)

    def decode(segment: bytes) -> object:
        return rows(decode_index(segment, name=name, keys=KEYS, vault_id=vault_id(), machine_id=MACHINE))

    exactly(tally, decode, objects()[name], data)
    if data != objects()[name]:
        assert len(bench_with(name, data).index().problems) == 1


@many
@given(mutated(layout.POINTS))
def test_a_manifest(tally: Tally, data: bytes) -> None:
    sound = objects()[one(layout.POINTS)]
    exactly(tally, lambda it: decode_manifest(it, vault_id=vault_id(), point=POINT, keys=KEYS), sound, data)


@many
@given(mutated(layout.POINTS))
def test_the_plaintext_head_of_a_manifest(tally: Tally, data: bytes) -> None:
    """Nothing of it is proven, so it may say other things; it may not break anything."""
    tally.add("inputs tried")
    outcome(lambda: read_point_slots(data), DAMAGED)
    store = MemoryStore()
    store.put(layout.point_name(POINT), [data])
    outcome(lambda: open_vault(store), "vault-missing")


@many
@given(mutated(layout.VAULT))
def test_the_header_of_a_vault(tally: Tally, data: bytes) -> None:
    store = MemoryStore()
    store.put(layout.VAULT, [data])
    tally.add("inputs tried")
    found = outcome(lambda: open_vault(store).header, DAMAGED, "vault-unsupported")
    assert isinstance(found, SkyharborError) or found == bench_with().vault.header or b'"check"' not in data
    if not isinstance(found, SkyharborError) or found.code == DAMAGED:
        assert bench_with(layout.VAULT, data).vault.id == vault_id()


@many
@given(mutated(layout.MACHINES))
def test_a_machine_card(tally: Tally, data: bytes) -> None:
    """Nothing of it is proven before a slot opens; it may not break anything, nor stand in the way of a sound one."""
    tally.add("inputs tried")
    bench = bench_with(one(layout.MACHINES), data)
    bench.vault.machine_cards()
    bench.vault.put_machine_card(MACHINE, "atlas", [{"slot_id": "one"}])
    cards = [bench.store.get(name) for name in bench.names(layout.MACHINES)]
    assert any(b'"atlas"' in card for card in cards)


@many
@given(st.binary(max_size=200), st.from_regex(r"[a-z0-9._-]{1,70}", fullmatch=True))
def test_marks_of_damaged_packs(tally: Tally, data: bytes, name: str) -> None:
    tally.add("inputs tried")
    bench = bench_with()
    sound = one(PACKS[0])
    mark_damaged(bench.vault, sound, "test")
    for place in (name, f"{name}/deeper", layout.damaged_name(sound)[len(layout.DAMAGED) :]):
        outcome(lambda place=place: bench.store.put(layout.DAMAGED + place, [data]), "bad-request")
    assert sound.rsplit("/", 1)[1] in marked_packs(bench.vault)
    assert bench.index().drop_missing_packs(bench.vault) == [sound]


# ── key slots ────────────────────────────────────────────────────────────────────────────────────────

PASSPHRASE = "correct horse battery staple"
DEK = bytes(range(32))

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=60), st.binary(max_size=9)
)


@functools.cache
def cheap_slot() -> dict[str, str | int]:
    """A sound slot that opens at once. Storage may say what stretching costs, within limits."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"_MEMORY_KIB": 8, "_ITERATIONS": 1, "_LANES": 1}.items():
            patch.setattr(slots_module, name, value)
        return seal_slot(DEK, PASSPHRASE, machine_id=MACHINE)


def signed(slot: dict[str, Any]) -> dict[str, Any]:
    """The slot with an id that fits it: anybody can make one (docs/format, 2.2)."""
    names = ("kind", "kdf", "memory_kib", "iterations", "lanes", "salt", "nonce", "wrapped", "commitment")
    fields = {"machine_id": MACHINE, **{name: slot.get(name) for name in names}}
    canonical = json.dumps(fields, sort_keys=True, separators=(",", ":"), default=str).encode()
    return {**slot, "slot_id": hashlib.sha256(b"skyharbor/v1/slot-id\0" + canonical).hexdigest()[:32]}


@many
@given(st.data(), st.booleans())
def test_key_slots(tally: Tally, data: st.DataObject, sign: bool) -> None:
    slot: dict[str, Any] = dict(cheap_slot())
    for name in data.draw(st.sets(st.sampled_from(sorted(slot)), min_size=1, max_size=2)):
        said = slot[name]
        near = (
            st.integers(0, 64)
            if isinstance(said, int)
            else st.one_of(st.just(said[::-1]), mutations(said.encode()).map(lambda raw: raw.decode("latin-1")))
        )
        slot[name] = data.draw(st.one_of(SCALARS, near))
        if slot[name] is None:
            del slot[name]
    tally.add("inputs tried")
    given_slots = [signed(slot) if sign else slot]
    codes = (DAMAGED, "wrong-passphrase", "vault-unsupported")
    found = outcome(lambda: open_slots(given_slots, PASSPHRASE, machine_id=MACHINE), *codes)
    assert isinstance(found, SkyharborError) or found == DEK
    # Whatever the first one is, a sound one behind it opens.
    assert open_slots([*given_slots, cheap_slot()], PASSPHRASE, machine_id=MACHINE) == DEK


# ── behind the cipher ────────────────────────────────────────────────────────────────────────────────

SALT = bytes(range(32))
NONSENSE = st.binary(max_size=200)


def behind(plain: bytes) -> st.SearchStrategy[bytes]:
    """What a compressed block may expand to, and blocks that are none."""
    inner = st.one_of(mutations(plain), NONSENSE)
    return st.one_of(inner.map(lambda it: compress_sized(it, 1)), mutations(compress_sized(plain, 1)))


def used(table: ChunkTable) -> None:
    """A table that was believed can be used without a surprise."""
    ids = table.ids()
    assert (table.find(ids) >= 0).all()
    rows(table)
    merged = merge([table, table])
    assert len(merged) == len(table)
    assert len(table.without(np.ones(len(table.packs), dtype=bool))) == 0


def sealed_directory(plain: bytes) -> bytes:
    aad = directory_aad(layout.KIND_DATA, vault_id())
    return KEYS.pack_cipher(SALT).seal(DIRECTORY_ORDINAL, plain, aad)


def read_sealed_directory(plain: bytes) -> ChunkTable:
    info = PackInfo(layout.pack_name(layout.KIND_DATA, bytes(32)), SALT, len(objects()[one(PACKS[0])]))
    return open_directory(sealed_directory(plain), info=info, keys=KEYS, vault_id=vault_id(), kind=layout.KIND_DATA)


@functools.cache
def directory_plain() -> bytes:
    """The plaintext of a real directory, expanded."""
    pack = objects()[one(PACKS[0])]
    length, _, _ = TRAILER.unpack(pack[-TRAILER_SIZE:])
    aad = directory_aad(layout.KIND_DATA, vault_id())
    cipher = KEYS.pack_cipher(pack[32:64])
    return expand_sized(cipher.open(DIRECTORY_ORDINAL, pack[-TRAILER_SIZE - length : -TRAILER_SIZE], aad), MIB)


@many
@given(st.deferred(lambda: behind(directory_plain())))
def test_a_sealed_directory(tally: Tally, plain: bytes) -> None:
    tally.add("sealed inputs tried")
    table = outcome(lambda: read_sealed_directory(plain), DAMAGED)
    if isinstance(table, ChunkTable):
        used(table)


def sealed_index(plain: bytes) -> bytes:
    head = pack_head(b"SKYINDEX", kind=0, vault_id=vault_id(), salt=SALT)
    aad = binding(b"SKYINDEX", kind=0, vault_id=vault_id(), extra=head + MACHINE.encode())
    return head + KEYS.metadata_cipher(SALT).seal(0, plain, aad)


def read_sealed_index(plain: bytes) -> ChunkTable:
    return decode_index(sealed_index(plain), name="index", keys=KEYS, vault_id=vault_id(), machine_id=MACHINE)


@functools.cache
def index_plain() -> bytes:
    data = objects()[one(layout.INDEX)]
    aad = binding(b"SKYINDEX", kind=0, vault_id=vault_id(), extra=data[:HEAD_SIZE] + MACHINE.encode())
    return expand_sized(KEYS.metadata_cipher(data[32:64]).open(0, data[HEAD_SIZE:], aad), MIB)


@many
@given(st.deferred(lambda: behind(index_plain())))
def test_a_sealed_index_segment(tally: Tally, plain: bytes) -> None:
    tally.add("sealed inputs tried")
    table = outcome(lambda: read_sealed_index(plain), DAMAGED)
    if isinstance(table, ChunkTable):
        used(table)
        read_with(table)


def read_with(table: ChunkTable) -> int:
    """Read the sound point by an index of somebody's making, and return how many files could not be read."""
    reader = bench_with().reader(1, index=ChunkIndex([table]))
    lost = 0
    for entry in reader.entries_or_errors():
        if not isinstance(entry, SkyharborError):
            content = outcome(lambda entry=entry: b"".join(reader.read_chunks(entry.chunks)), *LOST)
            assert isinstance(content, SkyharborError) or content == TREE[entry.path]
            lost += isinstance(content, SkyharborError)
    return lost


def test_an_index_that_points_at_other_places_gives_no_other_bytes(tally: Tally) -> None:
    """Every number of the last three columns is replaced: segment, offset and length of every row."""
    sound = index_plain()
    rows_in_it = len(read_sealed_index(compress_sized(sound, 1)))
    refused = lost = 0
    for at in range(len(sound) - 12 * rows_in_it, len(sound), 4):
        for number in (0, 1, 2, 3, 50, 99, 101):
            plain = sound[:at] + number.to_bytes(4, "little") + sound[at + 4 :]
            tally.add("sealed inputs tried")
            table = outcome(lambda plain=plain: read_sealed_index(compress_sized(plain, 1)), DAMAGED)
            if isinstance(table, ChunkTable):
                lost += read_with(table)
            else:
                refused += 1
    assert min(refused, lost) > 10


@functools.cache
def segment_plain() -> bytes:
    return encode_segment([SEGMENT[:250], SEGMENT[250:260], SEGMENT[260:]], 3).plain


SEGMENT = b"text " * 52 + random.Random(1).randbytes(40)
RAW = len(SEGMENT)


@many
@given(st.deferred(lambda: mutations(segment_plain())), st.sampled_from((RAW, 0, 299, 2**26, 2**26 + 1, 2**32 - 1)))
def test_a_sealed_segment(tally: Tally, plain: bytes, raw: int) -> None:
    tally.add("sealed inputs tried")
    found: Any = outcome(lambda: decode_segment(plain, raw), DAMAGED)
    assert isinstance(found, SkyharborError) or len(found.payload) == sum(found.lengths) == raw


@many
@given(
    st.deferred(lambda: mutations(segment_plain())),
    st.sampled_from((None, 0, 15, 16, 2**31, 2**32 - 1)),
    st.sampled_from((RAW, 0, 2**32 - 1)),
)
def test_sealed_segments_behind_lying_frames(tally: Tally, plain: bytes, stored: int | None, raw: int) -> None:
    """The mask of a frame hides it, but does not prove it."""
    tally.add("sealed inputs tried")
    sealed = KEYS.pack_cipher(SALT).seal(0, plain, segment_aad(layout.KIND_DATA, vault_id()))
    frame = FRAME.pack(len(sealed) if stored is None else stored, raw, 0, FRAME_MAGIC)
    head = pack_head(MAGIC, kind=layout.KIND_DATA, vault_id=vault_id(), salt=SALT)
    data = head + xor16(frame, KEYS.frame_mask(SALT, 0)) + sealed
    name = layout.pack_name(layout.KIND_DATA, hashlib.sha256(data).digest())
    store = MemoryStore()
    store.put(name, [data])
    used(scan_frames(store, name, len(data), keys=KEYS, vault_id=vault_id()))


@functools.cache
def manifest_plain() -> bytes:
    data = objects()[one(layout.POINTS)]
    opened = open_header(data)
    cipher = KEYS.metadata_cipher(opened.salt)
    return expand_sized(cipher.open(0, data[opened.plain_end :], data[: opened.plain_end]), MIB)


def sealed_manifest(plain: bytes) -> bytes:
    data = objects()[one(layout.POINTS)]
    opened = open_header(data)
    head = data[: opened.plain_end]
    return head + KEYS.metadata_cipher(opened.salt).seal(0, plain, head)


def read_sealed_manifest(plain: bytes) -> Manifest:
    return decode_manifest(sealed_manifest(plain), vault_id=vault_id(), point=POINT, keys=KEYS)


@st.composite
def other_manifests(draw: st.DrawFn) -> bytes:
    """Right in shape, and full of things that no writer says."""
    said = msgspec.msgpack.decode(manifest_plain())
    names = ["../x", "/etc/passwd", "packs/d/00/" + "0" * 64, *objects()]
    number = st.one_of(st.integers(-2, 70), st.sampled_from([*LIES, -(2**63)]))
    strange = {bytes: st.binary(max_size=70), str: st.sampled_from(names) | st.text(max_size=70), int: number}
    for row in [*said["pages"], *said["packs"]]:
        if draw(st.booleans()):
            at = draw(st.integers(0, len(row) - 1))
            row[at] = draw(strange[type(row[at])])
    return msgspec.msgpack.encode(said)


@many
@given(
    st.one_of(st.deferred(lambda: behind(manifest_plain())), other_manifests().map(lambda it: compress_sized(it, 1)))
)
def test_a_sealed_manifest(tally: Tally, plain: bytes) -> None:
    """What is believed can be read to its end: every page, every chunk, every pack."""
    tally.add("sealed inputs tried")
    manifest = outcome(lambda: read_sealed_manifest(plain), DAMAGED)
    if isinstance(manifest, SkyharborError):
        return
    assert isinstance(manifest, Manifest)
    bench = bench_with()
    for index in (None, bench.index()):
        read_to_its_end(PointReader(bench.vault, KEYS, POINT, manifest, index))


def read_to_its_end(reader: PointReader) -> None:
    for entry in reader.entries_or_errors():
        if not isinstance(entry, SkyharborError):
            outcome(lambda entry=entry: list(reader.read_chunks(entry.chunks)), *LOST)
    for pack in reader.packs:
        if reader.stored_size(pack.name) == pack.size:  # as a verify looks before it reads
            outcome(lambda pack=pack: reader.prove_pack(pack, on_read=lambda _: None), *LOST)


@functools.cache
def page_plain() -> bytes:
    entries = [file_entry(b"a", KEYS.chunk_id(b"x") * 2, size=9), file_entry(b"b"), file_entry(b"c/d", size=4)]
    entries[1].xattrs, entries[1].holes = ((b"user.a", b"1"),), ((0, 4),)
    entries[2].link, entries[2].target, entries[2].flags, entries[2].rdev = b"a", b"t", 16, 5
    return encode_page(entries)


@many
@given(st.deferred(lambda: st.one_of(mutations(page_plain()), NONSENSE)))
def test_a_sealed_page(tally: Tally, plain: bytes) -> None:
    tally.add("sealed inputs tried")
    entries: Any = outcome(lambda: decode_columns(plain).entries(), DAMAGED)
    if not isinstance(entries, SkyharborError):
        assert all(len(entry.chunks) % 32 == 0 for entry in entries)
        outcome(lambda: encode_page(entries))


# ── nested deeper than anybody can follow ────────────────────────────────────────────────────────────


def deep_json(sound: bytes) -> bytes:
    """The object with one more field, which readers pass over."""
    return sound.replace(b"{", b'{"further": ' + b"[" * 5000 + b"]" * 5000 + b",", 1)


def deep_msgpack(sound: bytes, key: bytes) -> bytes:
    """The map with one more key, or the array with one more column."""
    count, rest = (sound[0] + 1).to_bytes(1, "big"), sound[1:]
    if sound[0] == 0xDC:
        count, rest = b"\xdc" + (int.from_bytes(sound[1:3], "big") + 1).to_bytes(2, "big"), sound[3:]
    return count + rest + key + b"\x91" * 5000 + b"\xc0"


def deep_head() -> bytes:
    data = objects()[one(layout.POINTS)]
    json_of = deep_json(data[48 : open_header(data).plain_end])
    return data[:12] + struct.pack("<I", len(json_of)) + data[16:48] + json_of


DEEP: dict[str, Callable[[], object]] = {
    "the head of a manifest": lambda: read_point_slots(deep_head()),
    "a manifest": lambda: read_sealed_manifest(compress_sized(deep_msgpack(manifest_plain(), b"\xa2zz"), 1)),
    "a page": lambda: decode_columns(deep_msgpack(page_plain(), b"")).entries(),
}


@pytest.mark.parametrize("what", DEEP)
def test_something_nested_without_end_is_damaged(what: str, tally: Tally) -> None:
    tally.add("inputs tried")
    assert isinstance(outcome(DEEP[what], DAMAGED), SkyharborError)


def test_a_header_or_a_card_nested_without_end_is_passed_over(tally: Tally) -> None:
    tally.add("inputs tried", 2)
    header, card = one(layout.VAULT), one(layout.MACHINES)
    assert len(bench_with(header, deep_json(objects()[header])).vault.problems) == 1
    assert bench_with(card, deep_json(objects()[card])).vault.machine_cards() == []


# ── memory ───────────────────────────────────────────────────────────────────────────────────────────


LENGTHS: dict[str, tuple[Callable[[], bytes], Callable[[bytes], object]]] = {
    "a directory": (directory_plain, lambda plain: read_sealed_directory(compress_sized(plain, 1))),
    "a compressed directory": (lambda: compress_sized(directory_plain(), 1), read_sealed_directory),
    "an index segment": (index_plain, lambda plain: read_sealed_index(compress_sized(plain, 1))),
    "a compressed index segment": (lambda: compress_sized(index_plain(), 1), read_sealed_index),
    "a segment": (segment_plain, lambda plain: decode_segment(plain, RAW)),
    "a manifest": (manifest_plain, lambda plain: read_sealed_manifest(compress_sized(plain, 1))),
    "a compressed manifest": (lambda: compress_sized(manifest_plain(), 1), read_sealed_manifest),
    "the head of a manifest": (lambda: objects()[one(layout.POINTS)], read_point_slots),
    "a page": (page_plain, lambda data: decode_columns(data).entries()),
    "a pack": (
        lambda: objects()[one(PACKS[0])],
        lambda data: read_directory(
            bench_with(one(PACKS[0]), data).store, one(PACKS[0]), len(data), keys=KEYS, vault_id=vault_id()
        ),
    ),
}


@pytest.mark.parametrize("what", LENGTHS)
def test_no_length_makes_a_decoder_take_much_memory(what: str, tally: Tally) -> None:
    sound, decode = LENGTHS[what]
    decode(sound())
    tries = list(lying(sound(), margin=100))
    with at_most(MOST):
        for data in tries:
            outcome(lambda data=data: decode(data), DAMAGED)
    tally.add("lying lengths tried", len(tries))


@pytest.mark.parametrize("size", [2**20, 2**28, 2**31 - 1, 2**31, 2**32 - 1])
def test_a_frame_that_promises_more_than_it_can_hold_makes_nobody_reach_for_memory(size: int, tally: Tally) -> None:
    """Both lengths of a compressed block agree, and both lie."""
    frame = struct.pack("<4sBIBBBc", b"\x28\xb5\x2f\xfd", 0xA0, size, 11, 0, 0, b"x")
    block = struct.pack("<Q", size) + frame
    with at_most(MIB):
        for decode in (read_sealed_directory, read_sealed_index, read_sealed_manifest):
            assert isinstance(outcome(lambda decode=decode: decode(block), DAMAGED), SkyharborError)
        segment = struct.pack("<B3xII", 1, 1, size) + frame
        assert isinstance(outcome(lambda: decode_segment(segment, size), DAMAGED), SkyharborError)
    tally.add("lying lengths tried", 4)
