"""Finishing full packs in the background, with a bound on how many wait.

Rule of the file: a failure is kept and raised at the next call, and nothing more is put after it; what is reported as
durable is durable.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait

from shared.storage.object_store import Draft, ObjectStore
from shared.vault.pack_format import FinishedPack, PackBuilder

THREADS = 2


class Uploader:
    """A few threads that finish packs and call ``on_durable`` for each. Safe to share between threads.

    At most ``threads`` packs are inside; ``submit`` waits for room, which is the writer's back-pressure.
    """

    def __init__(
        self, store: ObjectStore, on_durable: Callable[[FinishedPack], None], *, threads: int = THREADS
    ) -> None:
        self._store = store
        self._on_durable = on_durable
        self._room = threading.BoundedSemaphore(threads)
        self._lock = threading.Lock()
        self._pending: set[Future[None]] = set()
        self._failure: BaseException | None = None
        self._stopped = False
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="vault-put")

    def check(self) -> None:
        """Raise the first failure of a background put, if there was one; RuntimeError after ``stop``."""
        if self._failure is not None:
            raise self._failure
        if self._stopped:
            raise RuntimeError("the writer was aborted or has sealed")

    def begin(self) -> Draft:
        """Return a draft for a pack."""
        return self._store.begin()

    def fail(self, error: BaseException) -> None:
        """Take note that a pack was lost before it was handed over: nothing more is put."""
        self._failure = self._failure or error

    def submit(self, pack: PackBuilder) -> None:
        """Hand over a pack; waits while too many others are on their way. Raises earlier failures."""
        self._room.acquire()
        try:
            self.check()
            with self._lock:
                future = self._executor.submit(self._put, pack)
                self._pending.add(future)
        except BaseException:
            self._room.release()
            pack.abort()
            raise
        future.add_done_callback(lambda done: self._done(done, pack))

    def drain(self) -> None:
        """Wait until everything handed over before this call is durable; raise the first failure."""
        with self._lock:
            pending = set(self._pending)
        wait(pending)
        self.check()

    def stop(self) -> None:
        """Drop what has not begun and wait for puts that have: afterwards nothing more is written. Idempotent."""
        self._stopped = True
        self._executor.shutdown(wait=True, cancel_futures=True)

    def _put(self, pack: PackBuilder) -> None:
        # A put that waited behind a failed one would only make garbage.
        if self._failure is not None or self._stopped:
            return
        try:
            self._on_durable(pack.finish())
        except BaseException as error:
            self.fail(error)
            raise

    def _done(self, future: Future[None], pack: PackBuilder) -> None:
        pack.abort()  # for one that was not finished, or never begun
        with self._lock:
            self._pending.discard(future)
        self._room.release()
