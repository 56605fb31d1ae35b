"""The process without rights, seen from outside: started when it is needed, asked, and ended when it is no good.

A crash of it, silence, endless thinking and answers that cannot be true are one and the same error about the disk. The
next question starts another process.

Rule of the file: every wait has an end; bytes of disks are given only where they exist; nothing is believed unchecked.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import NoReturn

import msgspec

from shared.decoders import msgpack_decoder
from shared.errors import SkyharborError
from workers.disks import sandbox
from workers.disks.checks import Lie, check_areas, check_node
from workers.disks.messages import (
    MOST_FRAME,
    MOST_NEEDED,
    Answer,
    Areas,
    Ask,
    Begin,
    Need,
    Nodes,
    Pieces,
    Trouble,
    send_frame,
)
from workers.disks.volume import Bytes

UNREADABLE = "disk-unreadable"
_HINT = "Restore the whole disk and repair it there (fsck, chkdsk), or take another point."
_WHOLE = "Restore the whole disk; its files are then read by the system that wrote them."
_TICK = 1.0
_asks = msgspec.msgpack.Encoder()
_answers = msgpack_decoder(Answer)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long one part of an answer may take, in seconds: of saying nothing, of computing, and of everything."""

    silent: float = 30.0
    cpu: float = 60.0
    whole: float = 900.0
    memory: int = sandbox.MEMORY


class Parser:
    """Asks about disks. Used by one thread; ``check`` may raise to stop, while anything is waited for.

    ``command`` is the beginning of the program's command line.
    """

    def __init__(
        self,
        disks: Sequence[Bytes],
        *,
        check: Callable[[], None] = lambda: None,
        patience: Patience | None = None,
        command: Sequence[str] = (sys.executable, "-P", "-m", "workers.disks.child"),
    ) -> None:
        self._disks = disks
        self._check, self._patience, self._command = check, patience or Patience(), tuple(command)
        self._process: subprocess.Popen[bytes] | None = None
        self._line: socket.socket | None = None
        self.areas: Areas | None = None

    def start(self) -> None:
        """Start the process now, so that the first question need not wait for it, if there is none that lives."""
        if self._process is not None and self._process.poll() is not None:
            self.close()
        if self._process is None:
            self._begin()

    def ask(self, question: Ask) -> Iterator[Answer]:
        """Yield the parts of the answer, checked. Raises ``disk-unreadable``, and what the vault raises.

        The process is ended when the iterator is closed before its end, or anything goes wrong but trouble told.
        """
        self.start()
        whole = False
        try:
            self._send(question)
            while not whole:
                part = self._part()
                whole = not isinstance(part, Nodes | Pieces) or part.last
                if isinstance(part, Trouble):
                    raise_trouble(part.text, supported=part.supported)
                yield part
        finally:
            if not whole:
                self.close()

    def one(self, question: Ask) -> Answer:
        """Return the first part of an answer that has one."""
        return next(self.ask(question))

    def close(self) -> None:
        """End the process. Idempotent; the next question starts another one."""
        line, process = self._line, self._process
        self._line, self._process = None, None
        if line is not None:
            line.close()
        if process is not None:
            process.kill()
            process.wait()

    # ── inside ───────────────────────────────────────────────────────────────────────────────────────

    def _begin(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            fd = theirs.fileno()
            command = [*self._command, str(fd), str(os.getpid()), str(self._patience.memory)]
            # Nothing of our environment: it may hold secrets, and nothing in it concerns this process.
            self._process = subprocess.Popen(
                command, pass_fds=[fd], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                env={"LC_ALL": "C.UTF-8"}, cwd="/",
            )  # fmt: skip
        ours.settimeout(self._patience.silent)
        self._line = ours
        self._send(Begin([disk.size for disk in self._disks]))

    def _part(self) -> Answer:
        """Return the next part of the answer; until it comes, give bytes of disks."""
        clock = _Clock(self._patience, self._process)
        while True:
            answer = self._receive(clock)
            if not isinstance(answer, Need):
                self._judge(answer)
                return answer
            with clock.stopped():
                self._serve(answer)

    def _receive(self, clock: _Clock) -> Answer:
        try:
            header = self._bytes(4, clock)
            length = int.from_bytes(header, "little")
            if length > MOST_FRAME:
                self._lost(f"it wants to say {length} bytes at once")
            answer: Answer = _answers.decode(self._bytes(length, clock))
            return answer
        except (OSError, msgspec.MsgspecError) as error:
            self._lost(f"what it says makes no sense: {error}")

    def _bytes(self, length: int, clock: _Clock) -> bytearray:
        line = self._line
        if line is None:
            self._lost("it is not there any more")
        data = bytearray(length)
        view, at = memoryview(data), 0
        while at < length:
            self._wait(line, clock)
            count = line.recv_into(view[at:])
            if not count:
                self._lost(self._last_words())
            at += count
        return data

    def _wait(self, line: socket.socket, clock: _Clock) -> None:
        """Wait until something can be read, or it takes too long."""
        poll = select.poll()
        poll.register(line, select.POLLIN)
        while True:
            self._check()
            why = clock.overdue()
            if why:
                self._lost(why)
            if poll.poll(_TICK * 1000):
                return

    def _serve(self, need: Need) -> None:
        if not 0 <= need.disk < len(self._disks) or not 0 < need.length <= MOST_NEEDED or need.offset < 0:
            self._lost("it wants what cannot be")
        data = self._disks[need.disk].read(need.offset, need.length)
        self._send_bytes(data)

    def _judge(self, answer: Answer) -> None:
        try:
            if isinstance(answer, Areas):
                check_areas(answer.areas, len(self._disks))
            elif isinstance(answer, Nodes):
                for _, node in answer.found:
                    check_node(node)
        except Lie as lie:
            self._lost(str(lie))

    def _send(self, question: Ask) -> None:
        self._send_bytes(_asks.encode(question))

    def _send_bytes(self, data: bytes) -> None:
        line = self._line
        if line is None:
            self._lost("it is not there any more")
        try:
            send_frame(line, data)
        except OSError:
            self._lost(self._last_words())

    def _last_words(self) -> str:
        """Say how the process ended."""
        process = self._process
        if process is None:
            return "it ended"
        with suppress(subprocess.TimeoutExpired):
            code = process.wait(timeout=_TICK)
            if code < 0:
                return f"it was ended by {signal.Signals(-code).name}"
            return f"it ended with exit code {code}"
        return "it closed its line"

    def _lost(self, why: str) -> NoReturn:
        self.close()
        raise SkyharborError(UNREADABLE, f"the image is damaged: the process that reads it failed: {why}", hint=_HINT)


class _Clock:
    """Measures one part of an answer."""

    def __init__(self, patience: Patience, process: subprocess.Popen[bytes] | None) -> None:
        self._patience, self._process = patience, process
        self._began = self._spoke = time.monotonic()
        self._cpu = self._used()

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Take note that a question came, and do not count the time that it takes us to answer."""
        stopped = time.monotonic()
        yield
        self._spoke = time.monotonic()
        self._began += self._spoke - stopped

    def overdue(self) -> str:
        """Say what takes too long, nothing while all is well."""
        now, patience = time.monotonic(), self._patience
        if now - self._spoke > patience.silent:
            return f"nothing came for {patience.silent:.0f} s"
        if now - self._began > patience.whole:
            return f"there was no answer within {patience.whole:.0f} s"
        if self._used() - self._cpu > patience.cpu:
            return f"it computes for more than {patience.cpu:.0f} s"
        return ""

    def _used(self) -> float:
        if self._process is None or self._process.poll() is not None:
            return 0.0
        try:
            return time.clock_gettime(
                ~self._process.pid << 3 | 2
            )  # the CPU clock of another process (clock_getcpuclockid)
        except OSError:
            return 0.0


def raise_trouble(text: str, *, supported: bool) -> NoReturn:
    """Raise what was told about a disk: damage, or something that is not read here."""
    if supported:
        raise SkyharborError(UNREADABLE, f"the image is damaged: {text}", hint=_HINT)
    hint = "Install the worker with the extra 'disks' (skyharbor[disks])." if "not installed" in text else _WHOLE
    raise SkyharborError(UNREADABLE, text, hint=hint)
