"""A worker's process that reads a guest until it is killed; it takes the paths of QMP and agent, and HOW.

``HOW`` is ``reading`` or ``frozen``: where it stays. It says so on a line of its own, and has a real guard.
"""

from __future__ import annotations

import os
import signal
import sys

from shared.contracts.sources import VmSource
from tests.workloads.vm.rig import entries_of, order
from workers.engine.ports import Guard
from workers.guarding.client import GuardLine
from workers.sources.opening import open_source
from workers.sources.vm.moment import Moment
from workers.sources.vm.running import RunningSession


def main(qmp: str, agent: str, how: str) -> None:
    guard: Guard = GuardLine(dict(os.environ), log_file=None)
    spec = VmSource(qmp=qmp, agent=agent)
    if how == "frozen":
        Moment.take = _stay  # type: ignore[method-assign,assignment]
    session = RunningSession(order(spec, "killed", guard=guard), spec)
    source = open_source(session.reading)
    opened = source.open(entries_of(source)["disk0.raw"])
    buffer = memoryview(bytearray(1 << 20))
    opened.read_into(buffer, 0)
    _say("reading")
    while True:
        opened.read_into(buffer, 0)


def _stay(*_: object, **__: object) -> None:
    _say("frozen")
    signal.pause()


def _say(what: str) -> None:
    sys.stdout.write(what + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
