"""The guard's end: waits, and undoes what is armed when the worker's line ends or a deadline passes.

Rule of the file: a deed that fails is tried again for a while, the others do not wait for it for ever.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec
import structlog

from shared.decoders import json_decoder
from shared.waiting import readable
from workers.guarding.messages import Arm, Armed, Disarm, Order

log = structlog.get_logger()

Deed = Callable[[Mapping[str, str]], None]
"""Undoes one thing. Safe to do twice, and when there is nothing to undo; raises when it should be tried again."""

_TRIES = 8
_PAUSE = 0.5  # seconds, doubled after each try


@dataclass(slots=True)
class _Pending:
    order: Arm
    due: float | None


class Watch:
    """One worker's guard. ``deeds`` are what it knows how to do, by kind."""

    def __init__(self, line: socket.socket, deeds: Mapping[str, Deed]) -> None:
        self._line = line
        self._deeds = deeds
        self._pending: dict[int, _Pending] = {}
        self._decoder = json_decoder(Order)

    def keep(self) -> None:
        """Serve until the line has ended and everything that was armed then is done."""
        held = b""
        while True:
            self._do_due()
            if not readable(self._line.fileno(), seconds=self._patience()):
                continue
            got = self._read()
            if not got:
                break
            *lines, held = (held + got).split(b"\n")
            for line in lines:
                self._take(self._decoder.decode(line))
        # Last made, first undone: later things stand on earlier ones.
        for number in sorted(self._pending, reverse=True):
            self._do(number)

    def _read(self) -> bytes:
        try:
            return self._line.recv(65536)
        except ConnectionError:
            return b""

    def _take(self, order: Order) -> None:
        match order:
            case Arm():
                due = None if order.within is None else time.monotonic() + order.within
                self._pending[order.number] = _Pending(order, due)
                try:
                    self._line.sendall(msgspec.json.encode(Armed(number=order.number)) + b"\n")
                except OSError:
                    return  # its end is noticed next
            case Disarm():
                self._pending.pop(order.number, None)

    def _patience(self) -> float | None:
        dues = [one.due for one in self._pending.values() if one.due is not None]
        return max(0.0, min(dues) - time.monotonic()) if dues else None

    def _do_due(self) -> None:
        now = time.monotonic()
        for number in [number for number, one in self._pending.items() if one.due is not None and one.due <= now]:
            self._do(number)

    def _do(self, number: int) -> None:
        order, pause = self._pending.pop(number).order, _PAUSE
        deed = self._deeds.get(order.kind)
        if deed is None:
            log.error("deed-unknown", kind=order.kind)
            return
        for left in reversed(range(_TRIES)):
            try:
                deed(order.details)
                log.info("deed-done", kind=order.kind)
                return
            except Exception:
                log.exception("deed-failed", kind=order.kind, tries_left=left)
            if left:
                time.sleep(pause)
                pause *= 2
