"""A worker's name is held by one living process: the proof that an earlier session of that name is dead.

Rule of the file: the lock is the kernel's (``flock``), so it ends with the process, however it ends.
"""

from __future__ import annotations

import fcntl
import os
import time

from shared.errors import SkyharborError


def hold_name(folder: str, name: str, *, patience: float = 10.0) -> int:
    """Lock ``name`` in ``folder`` for the life of this process and return the descriptor.

    Waits up to ``patience`` seconds for a predecessor that is just dying; then ``conflict``.
    """
    os.makedirs(folder, mode=0o700, exist_ok=True)
    descriptor = os.open(os.path.join(folder, f"{name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(descriptor)
                raise SkyharborError("conflict", f"a worker named {name} is already running here") from None
            time.sleep(0.1)
        else:
            return descriptor
