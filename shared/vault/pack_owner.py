"""Whose pack is it: the question of somebody who holds several keys and must not touch what opens with none of them.

Rule of the file: a pack is somebody's when its first frame, unmasked with that one's key, is the frame of a first
segment. What an index says does not count: whoever holds one machine's key can write into its index what he likes.
"""

from __future__ import annotations

from collections.abc import Iterable

from shared.crypto.domain_keys import DomainKeys
from shared.errors import SkyharborError
from shared.storage.object_store import ObjectStore
from shared.vault import layout
from shared.vault.binary import HEAD_SIZE, blamed_on, read_head
from shared.vault.pack_format import FRAME, FRAME_MAGIC, FRAME_SIZE, MAGIC, xor16


def pack_owner(store: ObjectStore, name: str, keys: Iterable[DomainKeys], *, vault_id: str) -> DomainKeys | None:
    """Return the one of these keys that the pack was made with, None for somebody else's, a damaged or a missing one.

    One small read. Another key fits by chance once in 2**64, as ordinal and magic of the first frame are known.
    """
    parsed = layout.parse_pack(name)
    if parsed is None:
        return None
    try:
        data = store.get(name, length=HEAD_SIZE + FRAME_SIZE)
        with blamed_on(name):
            salt = read_head(data, MAGIC, kind=parsed[0], vault_id=vault_id)
    except SkyharborError as error:
        if error.code not in ("object-damaged", "object-missing"):
            raise
        return None
    frame = data[HEAD_SIZE:]
    if len(frame) != FRAME_SIZE:
        return None
    return next((one for one in keys if _is_first(xor16(frame, one.frame_mask(salt, 0)))), None)


def _is_first(frame: bytes) -> bool:
    _, _, ordinal, magic = FRAME.unpack(frame)
    return (ordinal, magic) == (0, FRAME_MAGIC)
