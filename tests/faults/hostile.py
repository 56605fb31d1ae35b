"""Bytes that nobody wrote: mutations of sound objects, nonsense, and numbers that lie about lengths.

Rule of the file: strategies for Hypothesis and a gauge of memory; what must become of the bytes is the tests' to say.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hypothesis import strategies as st

from shared.errors import SkyharborError

LIES = (0, 1, 2**16, 2**31 - 1, 2**32 - 1, 2**63 - 1, 2**64 - 1)
"""What a length field may claim."""

MIB = 1024 * 1024


@st.composite
def mutations(draw: st.DrawFn, sound: bytes) -> bytes:
    """The bytes of a sound object with a few things done to them, or something else altogether."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=300))
    data = bytearray(sound)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        match draw(st.sampled_from(("flip", "number", "cut", "insert", "remove", "repeat"))):
            case "flip":
                data[at : at + 1] = bytes([(data[at] if data else 0) ^ 1 << draw(st.integers(0, 7))])
            case "number":
                width = draw(st.sampled_from((1, 2, 4, 8)))
                data[at : at + width] = lie(draw(st.sampled_from(LIES)), width)
            case "cut":
                del data[at:]
            case "insert":
                data[at:at] = draw(st.binary(min_size=1, max_size=9))
            case "remove":
                del data[at : at + draw(st.integers(1, 40))]
            case "repeat":
                data[at:at] = data[at : at + draw(st.integers(1, 40))]
    return bytes(data)


def lie(number: int, width: int) -> bytes:
    """Return the number in so many bytes, or the most that they can say."""
    return min(number, 256**width - 1).to_bytes(width, "little")


def lying(sound: bytes, *, margin: int) -> Iterator[bytes]:
    """Yield the object with every four and every eight bytes in its margins replaced by every lie about a length."""
    for at in (at for at in range(len(sound)) if at < margin or at >= len(sound) - margin):
        for width in (4, 8):
            for number in LIES[3:]:
                yield sound[:at] + lie(number, width) + sound[at + width :]


def outcome(call: Callable[[], object], *codes: str) -> object:
    """Return what the call returns, or the error with one of these codes that it raises. Everything else passes."""
    try:
        return call()
    except SkyharborError as error:
        if error.code in codes:
            return error
        raise


@contextmanager
def at_most(size: int) -> Iterator[None]:
    """Fail when more than so many bytes were allocated at one time inside."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - before <= size, f"{peak - before} bytes were allocated for it"
