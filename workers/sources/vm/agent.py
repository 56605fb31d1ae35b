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

from workers.sources.vm.qmp import QemuGone, QmpFailed
from workers.sources.vm.wire import Address, Wire

_READ = 64 * 1024
_MOST = 1024 * 1024
_SYNC_PATIENCE = 5.0  # seconds: it answers at once, or is not there
_RESET = b"\xff"  # makes the agent forget half a message of somebody before us


class NoAgent(QmpFailed):
    """It is silent: whatever was to be done was not even asked for."""


class Agent:
    """The agent at a socket; a connection per call. ``patience`` is seconds per call."""

    def __init__(self, path: str, *, patience: float = 10.0) -> None:
        self._path = path
        self._patience = patience

    def freeze(self) -> int:
        """Bring the guest's file systems to rest and return how many there are."""
        return int(self._call("guest-fsfreeze-freeze"))

    def thaw(self) -> int:
        """Let the guest's file systems go on and return how many there were; nothing frozen is 0."""
        return int(self._call("guest-fsfreeze-thaw"))

    def _call(self, command: str) -> Any:
        try:
            wire = Wire.connect(Address(unix=self._path), patience=_SYNC_PATIENCE)
        except (ConnectionRefusedError, FileNotFoundError) as error:
            raise QemuGone(f"{self._path}: {error.strerror}") from error
        except OSError as error:
            raise NoAgent(f"{self._path}: {error}") from error
        try:
            answers = _Answers(wire)
            self._sync(wire, answers)
            wire.send(json.dumps({"execute": command}).encode(), b"\n")
            return self._answer(answers, command)
        except QmpFailed:
            raise
        except OSError as error:
            raise QmpFailed(f"the guest's agent does not answer: {error}") from error
        finally:
            wire.close()

    def _sync(self, wire: Wire, answers: _Answers) -> None:
        """Pass over whatever was said to an earlier client."""
        number = secrets.randbelow(1 << 31)
        try:
            order = {"execute": "guest-sync-delimited", "arguments": {"id": number}}
            wire.send(_RESET, json.dumps(order).encode(), b"\n")
            until = time.monotonic() + _SYNC_PATIENCE
            while answers.next(until).get("return") != number:
                pass
        except OSError as error:
            raise NoAgent(f"the guest's agent does not answer: {error}") from error

    def _answer(self, answers: _Answers, command: str) -> Any:
        until = time.monotonic() + self._patience
        while True:
            answer = answers.next(until)
            if "error" in answer:
                raise QmpFailed(f"{command}: {answer['error'].get('desc')}", str(answer["error"].get("class", "")))
            if "return" in answer:
                return answer["return"]


class _Answers:
    """The lines that come, whole."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._held = b""

    def next(self, until: float) -> dict[str, Any]:
        """Return the next line; an empty one for what is no answer. OSError when none comes in time."""
        while b"\n" not in self._held:
            left = until - time.monotonic()
            if left <= 0 or not (data := self._wire.receive_some(_READ, within=left)):
                raise TimeoutError("no answer in time")
            self._held += data
            if len(self._held) > _MOST:
                raise TimeoutError("it says more than makes sense")
        line, _, self._held = self._held.partition(b"\n")
        return _parsed(line)


def _parsed(line: bytes) -> dict[str, Any]:
    try:
        message = json.loads(line.lstrip(_RESET))
    except ValueError:
        return {}
    return message if isinstance(message, dict) else {}
