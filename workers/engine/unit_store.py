"""The store that one unit works with: its backend, throttled and counted, with the patience of somebody who has hours.

Rule of the file: which decorators a unit's store wears, and in which order; none of their behaviour.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import asdict

import structlog

from shared.storage.metered import MeteredStore
from shared.storage.object_store import ObjectStore
from shared.storage.open import open_store
from shared.storage.read_only import ReadOnlyStore
from shared.storage.retrying import FOR_UNITS
from shared.storage.throttle import Throttle
from shared.storage.throttled import ThrottledStore

log = structlog.get_logger()


@contextlib.contextmanager
def unit_store(
    url: str, *, throttle: Throttle, check: Callable[[], None], read_only: bool = False
) -> Iterator[ObjectStore]:
    """Open the store of a unit, or of a process that works for one, and close it afterwards.

    Kept open it would hold descriptors, and its disk, for as long as we live. ``check`` ends every wait for bandwidth
    or for the network by what it raises, from whatever thread waits. What was used of the store is logged at the end,
    whichever that is.
    """
    meters: list[MeteredStore] = []

    def around(backend: ObjectStore) -> ObjectStore:
        meters.append(MeteredStore(ThrottledStore(backend, throttle, check=check)))
        return meters[-1]

    store = open_store(url, around=around, rule=FOR_UNITS, check=check)
    with contextlib.closing(store):
        try:
            yield ReadOnlyStore(store) if read_only else store
        finally:
            used = {verb: use for verb, use in asdict(meters[-1].use).items() if use["calls"]}
            log.info("store-used", store=store.describe(), **used)
