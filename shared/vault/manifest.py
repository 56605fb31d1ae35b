"""The manifest: the one object whose existence makes a recovery point exist.

Rule of the file: a plaintext header that says which point this is and holds the key slots, so that storage and a
passphrase are enough; everything else is encrypted, and bound to every byte of the header.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import msgspec

from shared.crypto.domain_keys import DomainKeys
from shared.decoders import msgpack_decoder
from shared.errors import SkyharborError
from shared.vault import layout
from shared.vault.binary import VERSION, blamed_on
from shared.vault.chunk_table import ID_SIZE
from shared.vault.compression import compress_sized, expand_sized
from shared.vault.layout import PointName
from shared.vault.manifest_header import HEAD, MAGIC, PointHeader, open_header, read_point_slots
from shared.vault.pack_format import MAX_PACK
from shared.vault.point import PackRef, PageRef, PointBody
from shared.vault.vault import Slot, Vault

__all__ = ["Manifest", "PointHeader", "decode_manifest", "encode_manifest", "read_manifest", "read_point_slots"]

_LEVEL = 3
_LIMIT = 2**31 - 1  # what one call of the cipher can take


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a manifest says to those who hold the key. ``pages`` in path order, ``packs`` sorted by name."""

    body: PointBody
    pages: tuple[PageRef, ...]
    packs: tuple[PackRef, ...]


def encode_manifest(
    manifest: Manifest, *, vault_id: str, point: PointName, slots: Sequence[Slot], keys: DomainKeys
) -> bytes:
    """Return the whole object; two calls give different bytes, because the salt is random."""
    salt = os.urandom(32)
    header = PointHeader(
        vault=vault_id,
        machine=point.machine_id,
        item=point.item_id,
        point=point.point_id,
        slots=tuple(dict(slot) for slot in slots),
    )
    plain = msgspec.json.encode(header)
    head = HEAD.pack(MAGIC, VERSION, 0, len(plain), salt) + plain
    return head + keys.metadata_cipher(salt).seal(0, compress_sized(msgspec.msgpack.encode(manifest), _LEVEL), head)


def decode_manifest(data: bytes, *, vault_id: str, point: PointName, keys: DomainKeys) -> Manifest:
    """Return the content of a manifest that must be this very point's; ``object-damaged`` otherwise."""
    with blamed_on(layout.point_name(point)):
        plain = _plain(data, vault_id=vault_id, point=point, keys=keys)
        manifest = msgpack_decoder(Manifest).decode(plain)
        _check_pages(manifest.pages)
        _check_packs(manifest.packs)
        return manifest


def _plain(data: bytes, *, vault_id: str, point: PointName, keys: DomainKeys) -> bytes:
    opened = open_header(data)
    said = opened.header
    if (said.vault, said.machine, said.item, said.point) != (vault_id, *point):
        raise SkyharborError("object-damaged", "this manifest belongs to another point")
    view = memoryview(data)
    body = keys.metadata_cipher(opened.salt).open(0, view[opened.plain_end :], bytes(view[: opened.plain_end]))
    return expand_sized(body, _LIMIT)


# Impossible pages and packs are damage: readers use these names and numbers as they are.


def _check_pages(pages: Sequence[PageRef]) -> None:
    for page in pages:
        if not page.chunks or len(page.chunks) % ID_SIZE or page.entries < 1:
            raise SkyharborError("object-damaged", f"the page that begins with {page.first!r} makes no sense")


def _check_packs(packs: Sequence[PackRef]) -> None:
    for pack in packs:
        if layout.parse_pack(pack.name) is None or not 0 <= pack.size <= MAX_PACK:
            raise SkyharborError("object-damaged", f"{pack.name[:100]!r} of {pack.size} bytes is not a pack")


def read_manifest(vault: Vault, point: PointName, keys: DomainKeys) -> Manifest:
    """Fetch and decode a point's manifest; ``object-missing`` when the point does not exist."""
    data = vault.store.get(layout.point_name(point))
    return decode_manifest(data, vault_id=vault.id, point=point, keys=keys)


class _PacksOnly(msgspec.Struct, frozen=True):
    packs: tuple[PackRef, ...]


def read_pack_list(vault: Vault, point: PointName, keys: DomainKeys) -> tuple[PackRef, ...]:
    """Fetch a point's manifest and return the packs that it needs: what a collector asks, without making its pages.

    Raises what ``read_manifest`` raises.
    """
    data = vault.store.get(layout.point_name(point))
    with blamed_on(layout.point_name(point)):
        plain = _plain(data, vault_id=vault.id, point=point, keys=keys)
        packs = msgpack_decoder(_PacksOnly).decode(plain).packs
        _check_packs(packs)
        return packs
