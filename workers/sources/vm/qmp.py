"""A client of QEMU's monitor protocol (QMP): commands, transactions, and what became of jobs and exports.

QEMU serves one client of a monitor socket at a time; another one waits until the first has gone. So a connection is
held for as long as something is done and no longer: the guard and the machine's own tools use the same socket.

Rule of the file: every wait has an end, ``QmpFailed`` (an OSError) says why nothing came of it.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from workers.sources.vm.wire import Address, Wire

_MOST_LINE = 64 * 1024 * 1024
_READ = 64 * 1024
_EVENTS = 1000
_LOOK_AGAIN = 0.05

Command = tuple[str, Mapping[str, Any]]


class QmpFailed(OSError):
    """QEMU refuses a command, or does not answer. ``kind`` is QEMU's class of the error, empty where it has none."""

    def __init__(self, message: str, kind: str = "") -> None:
        super().__init__(message)
        self.kind = kind


class QemuGone(QmpFailed):
    """There is nobody at the socket: with QEMU all that was made in it has ended."""


class Qmp:
    """One connection. Used by one thread."""

    def __init__(self, wire: Wire, *, patience: float) -> None:
        self._wire = wire
        self._patience = patience
        self._buffer = bytearray()
        self._number = 0
        self.events: deque[dict[str, Any]] = deque(maxlen=_EVENTS)
        """What QEMU has told by itself while it was asked something; the last ones."""
        self.version = (0, 0, 0)
        """Of QEMU: major, minor, micro."""

    @classmethod
    def connect(cls, path: str, *, patience: float = 30.0) -> Self:
        """Connect and agree on the protocol. ``patience`` is seconds per answer, also for somebody else to hang up."""
        try:
            wire = Wire.connect(Address(unix=path), patience=patience)
        except (ConnectionRefusedError, FileNotFoundError) as error:
            raise QemuGone(f"{path}: {error.strerror}") from error
        except OSError as error:
            raise QmpFailed(f"{path}: {error.strerror or error}") from error
        client = cls(wire, patience=patience)
        try:
            client._greet(path)
        except BaseException:
            wire.close()
            raise
        return client

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def execute(self, command: str, arguments: Mapping[str, Any] | None = None) -> Any:
        """Have a command done and return what QEMU says."""
        return self.execute_all([(command, arguments or {})])[0]

    def execute_all(self, commands: Sequence[Command]) -> list[Any]:
        """Have commands done one after the other, whatever becomes of this process meanwhile: they are sent at once.

        Raises ``QmpFailed`` with what the first one that failed says; those after it were done all the same.
        """
        numbers = range(self._number + 1, self._number + 1 + len(commands))
        self._number += len(commands)
        lines = [
            json.dumps({"execute": command, "arguments": dict(arguments), "id": number}).encode() + b"\n"
            for number, (command, arguments) in zip(numbers, commands, strict=True)
        ]
        self._send(b"".join(lines))
        answers = [self._answer(number) for number in numbers]
        for (command, _), answer in zip(commands, answers, strict=True):
            if "error" in answer:
                told = answer["error"]
                raise QmpFailed(f"{command}: {told.get('desc')}", str(told.get("class", "")))
        return [answer["return"] for answer in answers]

    def transaction(self, actions: Sequence[Command]) -> None:
        """Have all of these done at one point in time, or none."""
        if actions:
            self.execute("transaction", {"actions": [{"type": kind, "data": dict(data)} for kind, data in actions]})

    def wait_until(self, true: Callable[[], bool], what: str) -> None:
        """Ask until it is so. Raises ``QmpFailed`` when that takes too long."""
        until = time.monotonic() + self._patience
        while not true():
            if time.monotonic() > until:
                raise QmpFailed(f"{what}: not within {self._patience:.0f} s")
            time.sleep(_LOOK_AGAIN)

    def peer_uid(self) -> int | None:
        """Return who runs QEMU, where that can be seen."""
        return self._wire.peer_uid()

    def close(self) -> None:
        """Hang up. Idempotent."""
        self._wire.close()

    # ── inside ───────────────────────────────────────────────────────────────────────────────────────

    def _greet(self, path: str) -> None:
        greeting = self._next(time.monotonic() + self._patience)
        if "QMP" not in greeting:
            raise QmpFailed(f"{path}: this is no QMP socket")
        with contextlib.suppress(KeyError, TypeError):
            told = greeting["QMP"]["version"]["qemu"]
            self.version = (int(told["major"]), int(told["minor"]), int(told["micro"]))
        self.execute("qmp_capabilities")

    def _send(self, data: bytes) -> None:
        try:
            self._wire.send(data)
        except OSError as error:
            raise QmpFailed(f"QEMU does not listen: {error}") from error

    def _answer(self, number: int) -> dict[str, Any]:
        until = time.monotonic() + self._patience
        while True:
            message = self._next(until)
            if "event" in message:
                self.events.append(message)
            if message.get("id") == number and ("return" in message or "error" in message):
                return message
            if "error" in message and "id" not in message:
                raise QmpFailed(str(message["error"].get("desc")))

    def _next(self, until: float) -> dict[str, Any]:
        """Return the next message, whatever it is."""
        while True:
            line, found, rest = self._buffer.partition(b"\n")
            if found:
                self._buffer = rest
                return _parsed(line)
            left = until - time.monotonic()
            try:
                data = self._wire.receive_some(_READ, within=left) if left > 0 else None
            except TimeoutError:
                data = None
            except OSError as error:
                raise QmpFailed(f"QEMU does not answer: {error}") from error
            if data is None:
                raise QmpFailed(f"QEMU does not answer within {self._patience:.0f} s: is another client connected?")
            if not data:
                raise QmpFailed("QEMU has ended the connection")
            self._buffer += data
            if len(self._buffer) > _MOST_LINE:
                raise QmpFailed("QEMU says more than makes sense")


def _parsed(line: bytes | bytearray) -> dict[str, Any]:
    try:
        message = json.loads(line)
    except ValueError as error:
        raise QmpFailed("QEMU does not speak QMP") from error
    if not isinstance(message, dict):
        raise QmpFailed("QEMU does not speak QMP")
    return message
