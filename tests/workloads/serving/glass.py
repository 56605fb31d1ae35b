"""A vault on disk and the reader program over it, as somebody without a tower has them.

Rule of the file: the program is a process of its own, which ends with the test; that it is ready is what it says first.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from shared.crypto.keyring import Keyring
from shared.storage.open import create_store
from tests.unit.engine.rig import Rig
from tests.unit.serving.points import DEK, Bench
from workers.serving.settings import choose_fuse_3

WAIT = 90


def need(*programs: str) -> None:
    """Skip the test, with a reason, unless all these programs are installed."""
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")


def need_fuse() -> None:
    """Skip the test unless this machine can mount by FUSE."""
    need("fusermount3")
    try:
        choose_fuse_3()
        import mfusepy  # noqa: F401
    except (ImportError, OSError) as error:
        pytest.skip(f"mfusepy and libfuse 3: {error}")
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        pytest.skip("/dev/fuse cannot be opened")


def run(*command: str, check: bool = True, **more: Any) -> subprocess.CompletedProcess[str]:
    """Run a program to its end."""
    ran = subprocess.run(command, capture_output=True, text=True, timeout=WAIT, check=False, **more)
    if check:
        assert ran.returncode == 0, f"{command}: {ran.stdout}{ran.stderr}"
    return ran


@dataclass
class Serving:
    """A running ``serve`` or ``mount`` and the document that it began with."""

    process: subprocess.Popen[str]
    document: dict[str, Any]
    ended: dict[str, Any] = field(default_factory=dict)
    err: str = ""

    @property
    def uri(self) -> str:
        """The address of the first disk."""
        return str(self.document["disks"][0]["uri"])

    def end(self, number: int | None = signal.SIGTERM) -> int:
        """Send a signal, if any, wait for the end, and return the exit code."""
        if number is not None:
            self.process.send_signal(number)
        out, self.err = self.process.communicate(timeout=WAIT)
        self.ended = json.loads(out) if out else {}
        return self.process.returncode


@dataclass
class GlassOnDisk:
    """A vault in a folder, with points of the machine ``machine``."""

    folder: Path

    def __post_init__(self) -> None:
        self.url = f"file://{self.folder}/vault"
        store = create_store(self.url)
        self.bench = Bench(store)
        self.rig = Rig(store, made=True)
        keyring = Keyring(str(self.folder / "keys"))
        keyring.put("machine", DEK)
        self.key_file = keyring.path("machine")

    def command(self, name: str, *arguments: str) -> list[str]:
        proof = ["--store", self.url, "--machine", "machine", "--key-file", self.key_file]
        return [sys.executable, "-m", "workers.break_glass", name, "--json", *proof, *arguments]

    @contextmanager
    def running(self, name: str, *arguments: str, before: Sequence[str] = ()) -> Iterator[Serving]:
        """Have a command running until the block ends, by way of the program ``before`` it."""
        process = subprocess.Popen(
            [*before, *self.command(name, *arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            preexec_fn=_die_with_the_test,
        )  # fmt: skip
        try:
            assert process.stdout is not None
            first = process.stdout.readline()
            if not first or "error" in json.loads(first):
                pytest.fail(f"{name} did not begin: {first}{process.communicate(timeout=WAIT)[1]}")
            yield Serving(process, json.loads(first))
        finally:
            if process.poll() is None:
                process.terminate()
            try:
                process.communicate(timeout=WAIT)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()

    @contextmanager
    def speaking(self, command: Sequence[str]) -> Iterator[tuple[subprocess.Popen[str], Iterator[str]]]:
        """Have a command running until the block ends, and give the lines that it writes for people."""
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=_die_with_the_test)
        try:
            assert process.stdout is not None
            yield process, process.stdout
        finally:
            if process.poll() is None:
                process.kill()
            process.communicate()

    def serve(self, *arguments: str) -> Any:
        """Serve disks on a socket of this folder."""
        return self.running("serve", "--nbd", f"unix:{self.folder}/nbd", *arguments)

    def refused(self, name: str, *arguments: str) -> dict[str, Any]:
        """Run a command that must not begin and return its error."""
        ran = run(*self.command(name, *arguments), check=False)
        assert ran.returncode != 0
        error: dict[str, Any] = json.loads(ran.stdout)["error"]
        return error

    def spoil(self, kind: str = "d", packs: Sequence[str] | None = None) -> None:
        """Delete packs of the vault, as a collector does that was not stopped by a hold."""
        for path in (self.folder / "vault" / "packs" / kind).rglob("*"):
            if path.is_file() and (packs is None or path.name in packs):
                path.unlink()


@pytest.fixture
def glass(tmp_path: Path) -> GlassOnDisk:
    """A new vault."""
    return GlassOnDisk(tmp_path)


def _die_with_the_test() -> None:
    """Let the kernel end the program when the tests are killed; a mount goes with it in good order."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whoever runs the tests may have had it ignored (nohup)
