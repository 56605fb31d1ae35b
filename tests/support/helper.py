"""A helper as a process of its own: ``python -m tests.support.helper STORE UNIT``, the order on its input.

It ends with 0 and the sealed report on its output, with 75 when it gives the shard back because what it is about is
elsewhere, and with anything else when it fails.

Rule of the file: what a worker does with a shard, without a tower.
"""

from __future__ import annotations

import os
import sys

from shared.clock import SystemClock
from shared.contracts.work import Fence
from shared.crypto.domain_keys import DomainKeys
from shared.storage.local import LocalStore
from shared.vault.index import ChunkIndex
from shared.vault.vault import open_vault
from tests.support.held import NoGuard
from tests.support.uncontrolled import Uncontrolled
from workers.engine.part import BackupOptions, Gear
from workers.engine.ports import Elsewhere
from workers.engine.shard import run_shard
from workers.engine.shard_messages import open_order
from workers.sources.opening import borrow, open_source

DECLINED = 75


class _Guard(NoGuard):
    def arm(self, kind: str, details: object, *, within: float | None = None) -> int:
        return 1


def main() -> int:
    """Fly one shard."""
    folder, unit = sys.argv[1], int(sys.argv[2])
    answer = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what is logged is no report
    vault, keys = open_vault(LocalStore(folder)), DomainKeys.derive(b"k" * 32)
    fence = Fence(job_id="job", unit=unit, epoch=1, claim_id=f"helper-{unit}")
    order = open_order(sys.stdin.buffer.read(), keys=keys, fence=fence)
    try:
        with borrow(order.reading, _Guard()) as reading:
            gear = Gear(
                source=open_source(reading),
                reading=reading,
                vault=vault,
                keys=keys,
                index=ChunkIndex.load(vault, order.backup.machine.id, keys, cache_dir=None),
                clock=SystemClock(),
                options=BackupOptions(),
            )
            answer.write(run_shard(gear, order, fence, control=Uncontrolled()))
            answer.close()
    except Elsewhere as reason:
        sys.stderr.write(str(reason))
        return DECLINED
    return 0


if __name__ == "__main__":
    sys.exit(main())
