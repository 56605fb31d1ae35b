"""What ``up`` and ``status`` show of a stack: one JSON-able document.

Rule of the file: reads the record, the pulses and /proc, asks nobody, changes nothing.
"""

from __future__ import annotations

import sys

import shared
from orchestrator.embedded.home import Home
from orchestrator.embedded.processes import is_alive, resident_bytes
from orchestrator.embedded.record import StackRecord
from shared.pulse import broken_promises

Document = dict[str, object]


def running_document(home: Home, record: StackRecord) -> Document:
    """Describe a running stack; one whose process waits for its restart, or hangs, is not healthy."""
    processes = [
        {
            "name": process.name,
            "pid": process.pid,
            "alive": process.pid is not None and is_alive(process.pid),
            "hangs": sorted(broken_promises(home.pulse(process.name)) or ()),
            "since": process.since,
            "restarts": process.restarts,
            "rss": resident_bytes(process.pid) if process.pid is not None else 0,
            "log": process.log,
        }
        for process in record.processes
    ]
    return {
        "running": True,
        "healthy": all(process["alive"] and not process["hangs"] for process in processes),
        "home": home.path,
        "url": record.url,
        "flower": record.flower,
        "pid": record.pid,
        "started_at": record.started_at,
        "version": record.version,
        "versions": record.versions,
        "processes": processes,
        "warnings": list(record.warnings),
        "logs": home.logs,
    }


def stopped_document(home: Home, pid: int | None) -> Document:
    """Nothing runs, or (with a ``pid``) a supervisor is starting or ending."""
    return {
        "running": False,
        "healthy": False,
        "home": home.path,
        "url": None,
        "flower": None,
        "pid": pid,
        "started_at": None,
        "version": shared.VERSION,
        "versions": own_versions(),
        "processes": [],
        "warnings": [] if pid is None else ["the stack is starting or ending"],
        "logs": home.logs,
    }


def own_versions() -> dict[str, str]:
    """Return our version and Python's."""
    return {"skyharbor": shared.VERSION, "python": ".".join(map(str, sys.version_info[:3]))}
