"""What this process has open: descriptors by what they lead to, and threads."""

from __future__ import annotations

import contextlib
import gc
import os
import threading
from collections import Counter
from collections.abc import Iterator


@contextlib.contextmanager
def none_more() -> Iterator[None]:
    """See to it that after the block nothing is open that was not before, without the garbage collector's help."""
    before = _open_ends()
    gc.disable()
    try:
        yield
        more = _open_ends() - before
        assert not more, f"still open: {dict(more)}"
    finally:
        gc.enable()


def _open_ends() -> Counter[str]:
    ends = Counter(f"thread {one.name.rstrip('0123456789_-')}" for one in threading.enumerate())
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # the folder's own
            ends[os.readlink(f"/proc/self/fd/{fd}").partition("[")[0]] += 1
    return ends
