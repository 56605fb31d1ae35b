"""Fetching segments: neighbours of a pack in one request, decoded ones kept for a while.

Rule of the file: every byte that leaves here has been authenticated; what failed is an error that names the pack.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence

from shared.crypto.domain_keys import DomainKeys, PackCipher
from shared.errors import SkyharborError
from shared.vault import layout
from shared.vault.binary import blamed_on
from shared.vault.chunk_table import SegmentRef
from shared.vault.pack_format import FRAME_SIZE, segment_aad
from shared.vault.segment import Decoded, decode_segment
from shared.vault.vault import Vault

RUN = 8 * 1024 * 1024
"""One request asks for at most this much (or one segment, if that is larger)."""
GAP = 64 * 1024
"""Unwanted bytes between two segments that are cheaper to read than to ask again."""

_CIPHERS = 64


class SegmentSource:
    """Decoded segments of a vault. Safe to share between threads; keeps up to ``keep`` bytes of payloads.

    ``bytes_read`` counts what was asked of the store.
    """

    def __init__(self, vault: Vault, keys: DomainKeys, *, keep: int) -> None:
        self.bytes_read = 0
        self._vault, self._keys, self._keep = vault, keys, keep
        self._lock = threading.Lock()
        self._kept: OrderedDict[SegmentRef, Decoded] = OrderedDict()
        self._kept_size = 0
        self._ciphers: OrderedDict[bytes, PackCipher] = OrderedDict()

    def get(self, ref: SegmentRef, ahead: Sequence[SegmentRef] = ()) -> Decoded:
        """Return a segment; ``ahead`` are those wanted next: neighbours among them come with the same request.

        Raises ``object-damaged`` or ``object-missing`` with the pack's name.
        """
        kept = self._recall(ref)
        if kept is not None:
            return kept
        run = next(runs([ref, *ahead]))
        for other, outcome in self.fetch_run(run):
            if isinstance(outcome, Decoded):
                self._remember(other, outcome)
                if other == ref:
                    kept = outcome
            elif other == ref:
                raise outcome
        if kept is None:
            raise KeyError(ref)
        return kept

    def fetch_run(self, run: Sequence[SegmentRef]) -> list[tuple[SegmentRef, Decoded | SkyharborError]]:
        """Fetch segments of one pack, in ascending order, with one request; each succeeds or fails alone.

        Only what the store raises when it cannot be reached is raised.
        """
        start, end = run[0].offset, run[-1].offset + FRAME_SIZE + run[-1].stored
        try:
            data = memoryview(self._vault.store.get(run[0].pack, offset=start, length=end - start))
        except SkyharborError as error:
            if error.code != "object-missing":
                raise
            return [(ref, SkyharborError("object-missing", ref.pack, object=ref.pack)) for ref in run]
        with self._lock:
            self.bytes_read += len(data)
        return [(ref, self._decode(ref, data[ref.offset - start + FRAME_SIZE :][: ref.stored])) for ref in run]

    def _decode(self, ref: SegmentRef, sealed: memoryview) -> Decoded | SkyharborError:
        try:
            with blamed_on(ref.pack):
                parsed = layout.parse_pack(ref.pack)
                if parsed is None or len(sealed) != ref.stored:
                    raise SkyharborError("object-damaged", "the pack is cut short")
                aad = segment_aad(parsed[0], self._vault.id)
                return decode_segment(self._cipher(ref.salt).open(ref.ordinal, sealed, aad), ref.raw)
        except SkyharborError as error:
            return error

    def _cipher(self, salt: bytes) -> PackCipher:
        with self._lock:
            cipher = self._ciphers.get(salt)
            if cipher is None:
                cipher = self._ciphers[salt] = self._keys.pack_cipher(salt)
                if len(self._ciphers) > _CIPHERS:
                    self._ciphers.popitem(last=False)
            return cipher

    def _recall(self, ref: SegmentRef) -> Decoded | None:
        with self._lock:
            kept = self._kept.get(ref)
            if kept is not None:
                self._kept.move_to_end(ref)
            return kept

    def _remember(self, ref: SegmentRef, segment: Decoded) -> None:
        with self._lock:
            if ref in self._kept:
                return
            self._kept[ref] = segment
            self._kept_size += len(segment.payload)
            while self._kept_size > self._keep and len(self._kept) > 1:
                _, dropped = self._kept.popitem(last=False)
                self._kept_size -= len(dropped.payload)


def runs(refs: Sequence[SegmentRef]) -> Iterator[list[SegmentRef]]:
    """Split segments into runs that one request each can fetch: one pack, ascending, close together."""
    run: list[SegmentRef] = []
    for ref in refs:
        if run and not _joins(run, ref):
            yield run
            run = []
        run.append(ref)
    if run:
        yield run


def _joins(run: Sequence[SegmentRef], ref: SegmentRef) -> bool:
    last = run[-1]
    gap = ref.offset - (last.offset + FRAME_SIZE + last.stored)
    length = ref.offset + FRAME_SIZE + ref.stored - run[0].offset
    return ref.pack == last.pack and 0 <= gap <= GAP and length <= RUN
