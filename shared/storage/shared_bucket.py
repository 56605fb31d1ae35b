"""A token bucket that the processes of one machine share through 24 bytes of a file.

The file holds the *debt*: how many bytes have been let through that the rate has not paid for yet, and when that was
computed. A taker waits until the debt is paid, then adds its bytes to it. Debt is counted in bytes, not in time, so a
new rate holds at once for everybody. After a pause there is credit for a quarter of a second, which makes up for
sleeping a little too long; over any time ``t`` at most ``rate * (t + 0.25 s)`` and the last taker's bytes pass.

What a crash does: the file's lock dies with its holder (flock), and a debt that its taker never used is paid off like
any other. Another boot, a damaged or a foreign file: the debt begins at nothing. A holder that is stopped (SIGSTOP)
within the microseconds of an update, or a file that cannot be used at all: this process goes on with what it knows,
and throttles itself alone. A bucket never fails and never makes anybody wait for anybody else than the rate.

Rule of the file: arithmetic, a lock and 24 bytes; who waits, and how, is ``throttle``'s affair.
"""

from __future__ import annotations

import fcntl
import math
import os
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from shared.clock import Clock, SystemClock, since_boot

_CREDIT_SECONDS = 0.25

_RECORD = struct.Struct("<4sIdd")  # magic, CRC-32 of the rest, debt in bytes, seconds since boot
_REST = struct.Struct("<dd")
_MAGIC = b"skb1"

_LOCK_TRIES = 50
_LOCK_PAUSE = 0.001


class SharedBucket:
    """One bucket; safe to share between threads, not to be carried across a fork (open another one there)."""

    def __init__(self, path: str, *, now: Callable[[], float] = since_boot, clock: Clock | None = None) -> None:
        """Name the file, which is made when it is first needed, with its folder. One object per file and process."""
        self._path = path
        self._now = now
        self._clock = clock or SystemClock()
        self._mutex = threading.Lock()
        self._descriptor: int | None = None
        self._known = (0.0, 0.0)

    def take(self, count: int, rate: float) -> float:
        """Let ``count`` bytes through and return 0, or return the seconds after which to ask again; ``rate`` > 0."""
        with self._mutex, self._locked() as file:
            now = self._now()
            debt = self._debt(file, now, rate)
            if debt > 0.0:
                return debt / rate
            self._keep(file, debt + count, now)
            return 0.0

    def owe(self, count: int, rate: float) -> None:
        """Add to the debt what has passed already; a negative ``count`` gives back what was taken for nothing."""
        with self._mutex, self._locked() as file:
            now = self._now()
            self._keep(file, self._debt(file, now, rate) + count, now)

    def close(self) -> None:
        """Let go of the file; it is opened again when needed."""
        with self._mutex:
            self._forget_file()

    def _debt(self, file: int | None, now: float, rate: float) -> float:
        # The file's comes first: of two at the same moment it is the one that others have added to. What this process
        # knows is newer only when its last word could not be written. A time that is still to come is of another boot.
        records = [record for record in (_read(file), self._known) if record is not None and record[1] <= now]
        debt, then = max(records, key=lambda record: record[1], default=(0.0, now))
        return max(debt - (now - then) * rate, -rate * _CREDIT_SECONDS)

    def _keep(self, file: int | None, debt: float, now: float) -> None:
        self._known = (debt, now)
        if file is None:
            return
        rest = _REST.pack(debt, now)
        try:
            os.pwrite(file, _MAGIC + zlib.crc32(rest).to_bytes(4, "little") + rest, 0)
        except OSError:
            self._forget_file()

    @contextmanager
    def _locked(self) -> Iterator[int | None]:
        """Yield the locked file, or None when it cannot be had for now."""
        file = self._open()
        if file is None or not self._lock(file):
            yield None
            return
        try:
            yield file
        finally:
            if self._descriptor is not None:
                fcntl.flock(file, fcntl.LOCK_UN)

    def _lock(self, file: int) -> bool:
        for _ in range(_LOCK_TRIES):
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._clock.sleep(_LOCK_PAUSE)
            except OSError:
                return False
            else:
                return True
        return False

    def _open(self) -> int | None:
        if self._descriptor is None:
            try:
                os.makedirs(os.path.dirname(self._path), mode=0o700, exist_ok=True)
                flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
                self._descriptor = os.open(self._path, flags, 0o600)
            except OSError:
                return None
        return self._descriptor

    def _forget_file(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def _read(file: int | None) -> tuple[float, float] | None:
    """Return the debt and its time, or None when the file does not say."""
    if file is None:
        return None
    try:
        record = os.pread(file, _RECORD.size, 0)
    except OSError:
        return None
    if len(record) != _RECORD.size:
        return None
    magic, checksum, debt, then = _RECORD.unpack(record)
    sound = magic == _MAGIC and checksum == zlib.crc32(record[8:]) and math.isfinite(debt) and math.isfinite(then)
    return (debt, then) if sound else None
