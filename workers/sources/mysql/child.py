"""Runs the programs of MariaDB: each dies with this worker, says nothing secret, and never waits for ever.

Passwords reach a program through an option file in memory whose descriptor it inherits: not in its arguments, not in
its environment, not on a disk.

Rule of the file: no program is started in any other way.
"""

from __future__ import annotations

import os
import selectors
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import IO, Final

from shared.errors import SkyharborError
from workers.sources.children import tied
from workers.sources.settings import inherited

_PATIENCE: Final = 0.5
_CLOSING: Final = 60.0
_TAIL: Final = 64 * 1024

Check = Callable[[], None]


class OptionFile:
    """An option file in memory; ``arguments`` go first in a program's command line."""

    def __init__(self, options: Mapping[str, str], *, group: str = "client") -> None:
        lines = [f"[{group}]", *(f"{key}={_quoted(value)}" for key, value in options.items())]
        self.fd = os.memfd_create("options", os.MFD_CLOEXEC)
        os.fchmod(self.fd, 0o600)  # programs of MariaDB ignore what others may write
        os.write(self.fd, "\n".join([*lines, ""]).encode())
        self.arguments = (f"--defaults-file=/proc/self/fd/{self.fd}",)

    def close(self) -> None:
        """Forget it."""
        os.close(self.fd)


def _quoted(value: str) -> str:
    """Return a value so that the readers of option files take it as it is."""
    if "\n" in value or "\0" in value:
        raise SkyharborError("bad-request", "a password or user name with a line break cannot be given to MariaDB")
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


class Child:
    """A program under way. ``close`` in any case: it ends the program when it has not ended by itself."""

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        check: Check,
        folder: str,
        stall: float,
        options: OptionFile | None = None,
        user: tuple[int, int] | None = None,
        cwd: str | None = None,
        takes_input: bool = False,
        has_output: bool = True,
    ) -> None:
        """Start it. ``stall`` is how many seconds it may be silent; ``folder`` takes what it says, without a name."""
        self._name = os.path.basename(arguments[0])
        self._check = check
        self._stall = stall
        self._heard = False
        self._listened = 0
        self._said: IO[bytes] = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 - closed by close
        try:
            self.process = subprocess.Popen(
                tied(arguments, user=user),
                stdin=subprocess.PIPE if takes_input else subprocess.DEVNULL,
                stdout=subprocess.PIPE if has_output else self._said,
                stderr=self._said,
                pass_fds=() if options is None else (options.fd,),
                cwd=cwd,
                # Times in what is said are UTC, and words are English.
                env={**inherited(), "TZ": "UTC", "LC_ALL": "C"},
            )
            if self.process.stdin is not None:
                os.set_blocking(self.process.stdin.fileno(), False)
        except OSError as error:
            self._said.close()
            raise SkyharborError("source-failed", f"{self._name} cannot be started: {error.strerror}") from error

    def read_into(self, buffer: memoryview) -> int:
        """Fill ``buffer`` from its output, as far as there is any. Raises ``source-failed`` when it is stuck."""
        output = _there(self.process.stdout)
        filled = 0
        self._check()
        while filled < len(buffer):
            self._wait_for(output, selectors.EVENT_READ)
            got = os.readv(output.fileno(), [buffer[filled:]])
            if not got:
                break
            filled += got
        return filled

    def write(self, data: bytes | memoryview) -> bool:
        """Give it input; False when it does not take any more."""
        source = _there(self.process.stdin)
        left = memoryview(data)
        try:
            while left:
                self._wait_for(source, selectors.EVENT_WRITE)
                with suppress(BlockingIOError):
                    left = left[os.write(source.fileno(), left) :]
        except BrokenPipeError:
            return False
        return True

    def end_input(self) -> None:
        """Say that there is no more input."""
        if self.process.stdin is not None:
            self.process.stdin.close()

    def wait(self, *, patience: float = _CLOSING) -> int:
        """Return its exit code. Raises ``source-failed`` after so many seconds, and what ``check`` raises."""
        deadline = time.monotonic() + patience
        while True:
            try:
                return self.process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                self._check()
                if time.monotonic() > deadline:
                    raise self._stuck(patience) from None

    def output(self) -> int:
        """Return the descriptor of its output, for whoever reads it otherwise. It stays the child's."""
        return _there(self.process.stdout).fileno()

    def has_said(self, *words: bytes) -> bool:
        """Tell whether it has said any of these, or is gone; what was looked at before is not looked at again."""
        if self._said.closed:
            return True
        fd, longest = self._said.fileno(), max(map(len, words))
        while not self._heard and (text := os.pread(fd, _TAIL, max(0, self._listened - longest))):
            self._heard = any(word in text for word in words)
            before, self._listened = self._listened, max(0, self._listened - longest) + len(text)
            if self._listened == before:
                break
        return self._heard

    def said(self) -> str:
        """Return the end of what it has said so far."""
        fd = self._said.fileno()
        size = os.fstat(fd).st_size
        return os.pread(fd, _TAIL, max(0, size - _TAIL)).decode("utf-8", "replace")

    def close(self) -> None:
        """End it if it still runs, and forget what it has said. Idempotent."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self._said):
            if stream is not None:
                with suppress(BrokenPipeError):
                    stream.close()

    def _wait_for(self, stream: IO[bytes], event: int) -> None:
        deadline = time.monotonic() + self._stall
        with selectors.DefaultSelector() as selector:
            selector.register(stream, event)
            while not selector.select(_PATIENCE):
                self._check()
                if time.monotonic() > deadline:
                    raise self._stuck(self._stall)

    def _stuck(self, seconds: float) -> SkyharborError:
        return SkyharborError(
            "source-failed", f"{self._name} did not move for {seconds:.0f} seconds; {last_words(self.said())}"
        )


def _there(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise TypeError("the program was started without this stream")
    return stream


def last_words(said: str) -> str:
    """Return the line that explains best why a program gave up."""
    lines = [line.strip() for line in said.splitlines() if line.strip() and not line.endswith("[ERROR] Aborting")]
    telling = [line for line in lines if any(word in line.lower() for word in ("error", "denied", "fail", "cannot"))]
    return f"it said: {(telling or lines or ['nothing'])[-1]}"
