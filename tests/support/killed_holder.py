"""A worker that holds files and waits to be killed.

``python -m tests.support.killed_holder TREE WAY PROGRAMS FOLDER`` says ``held`` when it does.
"""

from __future__ import annotations

import os
import sys
import threading

from shared.contracts.sources import FilesSource, Hooks, SnapshotWay
from workers.engine.ports import SessionOrder
from workers.guarding.client import GuardLine
from workers.sources.freezing.here import Here
from workers.sources.opening import open_session

if __name__ == "__main__":
    tree, way, programs, folder = sys.argv[1:]
    os.makedirs(folder, exist_ok=True)
    spec = FilesSource(paths=(tree,), snapshot=SnapshotWay(way), hooks=Hooks(after=("thaw",)))
    order = SessionOrder(
        spec=spec,
        item_id="item",
        point_id="point",
        reference=None,
        leave_out=(),
        folder=folder,
        guard=GuardLine(os.environ, log_file=None),
        check=lambda: None,
    )
    session = open_session(order, Here(programs=programs))
    print("held", flush=True)  # noqa: T201
    threading.Event().wait()
