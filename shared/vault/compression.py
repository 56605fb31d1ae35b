"""Zstandard with the two promises a vault needs: what was compressed is proven readable, what is expanded is bounded.

Rule of the file: a compressed block carries its content size, and the reader says beforehand how large it may be.
"""

from __future__ import annotations

import struct
import threading

import zstandard

from shared.errors import SkyharborError

Bytes = bytes | bytearray | memoryview

_LENGTH = struct.Struct("<Q")
_MOST_PER_BYTE = 32 * 1024
"""What a frame can hold for each of its bytes: a block of at most 128 KiB takes four or more (RFC 8878, 3.1.1.2)."""

_WORTH_NUMERATOR, _WORTH_DENOMINATOR = 97, 100


class _Contexts(threading.local):
    """Compression contexts are costly to make and belong to one thread each."""

    def __init__(self) -> None:
        self.compressors: dict[int, zstandard.ZstdCompressor] = {}
        self.decompressor = zstandard.ZstdDecompressor()


_CONTEXTS = _Contexts()


def compress(data: Bytes, level: int) -> bytes:
    """Return ``data`` as one zstd frame with its content size, after expanding it again and comparing.

    A compressor that lies (bad memory, a defect) raises ``internal`` here, before the original is gone.
    """
    compressor = _CONTEXTS.compressors.get(level)
    if compressor is None:
        compressor = _CONTEXTS.compressors[level] = zstandard.ZstdCompressor(level=level, write_content_size=True)
    packed = compressor.compress(data)
    if _CONTEXTS.decompressor.decompress(packed) != data:
        raise SkyharborError(
            "internal", "compressed data does not expand to what it was made of; check this machine's memory"
        )
    return packed


def compress_if_worth(data: Bytes, level: int) -> bytes | None:
    """Return the compressed form, or None when it would save less than three per cent."""
    if not data:
        return None
    packed = compress(data, level)
    return packed if len(packed) * _WORTH_DENOMINATOR < len(data) * _WORTH_NUMERATOR else None


def expand(packed: Bytes, size: int) -> bytes:
    """Return the content of ``packed``, which must be exactly ``size`` bytes; ``object-damaged`` otherwise.

    Nothing is allocated before the frame itself has declared that very size and is large enough to hold it.
    """
    try:
        # The declared size is checked first: the library allocates what the frame declares.
        if zstandard.frame_content_size(packed) != size:
            raise SkyharborError("object-damaged", "a compressed block does not have its declared size")
        if size > len(packed) * _MOST_PER_BYTE:
            raise SkyharborError("object-damaged", "a compressed block declares more than it can hold")
        content = _CONTEXTS.decompressor.decompress(packed) if size else b""
    except zstandard.ZstdError as error:
        raise SkyharborError("object-damaged", f"a compressed block does not expand: {error}") from None
    if len(content) != size:
        raise SkyharborError("object-damaged", "a compressed block expands to another size")
    return content


def compress_sized(data: Bytes, level: int) -> bytes:
    """Return ``data`` compressed behind its size (u64), for blocks whose size is not stored elsewhere."""
    return _LENGTH.pack(len(data)) + compress(data, level)


def expand_sized(packed: bytes, limit: int) -> bytes:
    """Return the content of ``compress_sized``; more than ``limit`` bytes are refused before they are made."""
    if len(packed) < _LENGTH.size:
        raise SkyharborError("object-damaged", "a compressed block is cut short")
    (size,) = _LENGTH.unpack_from(packed)
    if size > limit:
        raise SkyharborError("object-damaged", "a compressed block declares an absurd size")
    return expand(memoryview(packed)[_LENGTH.size :], size)
