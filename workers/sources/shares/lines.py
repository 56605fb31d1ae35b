"""Connections to a server, each of which one thread uses at a time: borrowed, and dialled again once when lost.

Rule of the file: what is done over a line must be safe to do twice. A server that is gone for good is
``source-failed``: then there is no point, rather than one in which everything is unreadable.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, Protocol, TypeVar

from shared.errors import SkyharborError

_T = TypeVar("_T")


class LineLost(Exception):
    """The connection is of no use any more, or there never was one; the text says why."""


class Line(Protocol):
    """A connection."""

    @property
    def lost(self) -> bool:
        """Whether it is of no use any more."""
        ...

    def close(self) -> None:
        """Hang up. Idempotent."""
        ...


_Line = TypeVar("_Line", bound=Line)


class Lines(Generic[_Line]):
    """Any thread. ``harmless`` are exceptions that say something of a node and nothing of the line."""

    def __init__(self, where: str, dial: Callable[[], _Line], *, harmless: tuple[type[Exception], ...]) -> None:
        self._where = where
        self._dial = dial
        self._harmless = harmless
        self._idle: list[_Line] = []
        self._all: weakref.WeakSet[_Line] = weakref.WeakSet()
        self._lock = threading.Lock()

    def take(self) -> _Line:
        """Borrow a line."""
        with self._lock:
            while self._idle:
                line = self._idle.pop()
                if not line.lost:
                    return line
        line = self._dial()
        with self._lock:
            self._all.add(line)
        return line

    def give_back(self, line: _Line) -> None:
        """Return a line with nothing under way that anybody wants."""
        if not line.lost:
            with self._lock:
                self._idle.append(line)

    @contextmanager
    def borrowed(self) -> Iterator[_Line]:
        """Lend a line for a block. One that is left by an exception that is not harmless is hung up."""
        line = self.take()
        try:
            yield line
        except self._harmless:
            raise
        except BaseException:
            line.close()
            raise
        finally:
            self.give_back(line)

    def over(self, act: Callable[[_Line], _T]) -> _T:
        """Do something over a line, once more over a new one when the first is lost. Raises ``source-failed``."""
        try:
            with self.borrowed() as line:
                return act(line)
        except LineLost:
            self.hang_up()  # those that idle are likely to be lost as well
        try:
            with self.borrowed() as line:
                return act(line)
        except LineLost as error:
            raise self.gone(error) from error

    def gone(self, error: LineLost) -> SkyharborError:
        """Return what is to be said when a line is lost for the second time."""
        return gone(self._where, error)

    def hang_up(self) -> None:
        """Close every line that nobody has borrowed."""
        with self._lock:
            idle, self._idle = self._idle, []
        for line in idle:
            line.close()

    def part(self) -> None:
        """Hang up for good, and with those who have never given a line back. Nobody may be at work on one."""
        with self._lock:
            lines, self._idle = list(self._all), []
        for line in lines:
            line.close()


def gone(where: str, error: LineLost) -> SkyharborError:
    """Return what is to be said of a server whose line is lost for the second time."""
    detail = f"{where}: the connection is lost: {error}"
    return SkyharborError("source-failed", detail, hint="Check the server and its log.")
