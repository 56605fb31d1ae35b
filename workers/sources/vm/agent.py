"""The guest's agent: brings the file systems inside of a virtual machine to rest, and lets them go on.

The agent's socket takes one client at a time as well, so it is let go of between the two: the guard thaws when this
process does not.

Rule of the file: every wait has an end; whatever goes wrong is ``QmpFailed``, an OSError.
"""

from __future__ import annotations

import json
import secrets
import time
from typing import Any

from workers.sources.vm.qmp import QmpFailed
from workers.sources.vm.wire import Address, Wire

_READ = 64 * 1024
_MOST = 1024 * 1024
_RESET = b"\xff"  # makes the agent forget half a message of somebody before us


class Agent:
    """The agent at a socket; a connection per call. ``patience`` is seconds per call."""

    def __init__(self, path: str, *, patience: float = 10.0) -> None:
        self._path = path
        self._patience = patience

    def ping(self) -> None:
        """Find out whether the agent is there."""
        self._call("guest-ping")

    def freeze(self) -> int:
        """Bring the guest's file systems to rest and return how many there are."""
        return int(self._call("guest-fsfreeze-freeze"))

    def thaw(self) -> int:
        """Let the guest's file systems go on and return how many there were; nothing frozen is 0."""
        return int(self._call("guest-fsfreeze-thaw"))

    def _call(self, command: str) -> Any:
        until = time.monotonic() + self._patience
        try:
            wire = Wire.connect(Address(unix=self._path), patience=self._patience)
            try:
                return self._ask(wire, command, until)
            finally:
                wire.close()
        except QmpFailed:
            raise
        except OSError as error:
            raise QmpFailed(f"the guest's agent does not answer: {error}") from error

    def _ask(self, wire: Wire, command: str, until: float) -> Any:
        # Whatever was said to an earlier client is passed over: the answer to this number is ours.
        number = secrets.randbelow(1 << 31)
        sync = {"execute": "guest-sync-delimited", "arguments": {"id": number}}
        wire.send(_RESET, json.dumps(sync).encode(), b"\n", json.dumps({"execute": command}).encode(), b"\n")
        buffer, synced = b"", False
        while len(buffer) < _MOST:
            line, found, rest = buffer.partition(b"\n")
            if not found:
                left = until - time.monotonic()
                if left <= 0 or not (data := wire.receive_some(_READ, within=left)):
                    raise TimeoutError("no answer in time")
                buffer += data
                continue
            buffer = rest
            answer = _parsed(line)
            if not synced:
                synced = answer.get("return") == number
            elif "error" in answer:
                raise QmpFailed(f"{command}: {answer['error'].get('desc')}", str(answer["error"].get("class", "")))
            elif "return" in answer:
                return answer["return"]
        raise QmpFailed("the guest's agent says more than makes sense")


def _parsed(line: bytes) -> dict[str, Any]:
    try:
        message = json.loads(line.lstrip(_RESET))
    except ValueError:
        return {}
    return message if isinstance(message, dict) else {}
