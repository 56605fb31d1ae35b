"""The reader program beside the tower: names and keys of a recovery point never pass through the API.

Rule of the file: it is run as a program of its own (``python -m workers.break_glass``), because the planes do not
import each other; only its documented output and exit codes are relied on.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, TYPE_CHECKING, NoReturn

from orchestrator.cli.ports import Listing
from orchestrator.cli.settings import program_environment
from shared.errors import REGISTRY, ExitCode, SkyharborError

if TYPE_CHECKING:
    import subprocess

READER = (sys.executable, "-P", "-m", "workers.break_glass")

_BY_EXIT_CODE = {
    ExitCode.USAGE: "bad-request",
    ExitCode.NOT_FOUND: "path-not-in-point",
    ExitCode.REFUSED: "wrong-passphrase",
    ExitCode.UNREACHABLE: "store-unreachable",
}


class BreakGlass:
    """The lister that runs the reader program; ``command`` is its beginning."""

    def __init__(self, command: Sequence[str] = READER) -> None:
        self._command = tuple(command)

    def entries(self, listing: Listing) -> Iterator[Mapping[str, object]]:
        """Yield the entries of the point as the program prints them, one JSON object per line.

        The program is ended when the iterator is closed early. Its failure raises the error that it reported.
        """
        import subprocess
        import tempfile

        with tempfile.TemporaryFile() as complaints:
            process = subprocess.Popen(
                self._arguments(listing), stdout=subprocess.PIPE, stderr=complaints, env=program_environment()
            )
            try:
                yield from _lines(process)
                code = process.wait()
            finally:
                process.kill()
                process.wait()
                if process.stdout is not None:
                    process.stdout.close()
            if code not in (ExitCode.DONE, ExitCode.WARNINGS):
                raise _failure(code, complaints)

    def _arguments(self, listing: Listing) -> list[str]:
        proof = (
            ["--key-file", listing.key_file]
            if listing.key_file
            else ["--passphrase-file", listing.passphrase_file or ""]
        )
        return [
            *self._command, "ls", "--store", listing.store, "--machine", listing.machine, *proof,
            "--item", listing.item, "--point", listing.point, "--json", *([listing.path] if listing.path else []),
        ]  # fmt: skip


def exec_break_glass(arguments: Sequence[str], *, as_json: bool) -> NoReturn:
    """Become the reader program with the rest of the command line."""
    sys.stdout.flush()
    sys.stderr.flush()
    command = [*READER, *arguments[:1], *(["--json"] if as_json else []), *arguments[1:]]
    os.execve(READER[0], command, program_environment())  # noqa: S606 - our own program


def _lines(process: subprocess.Popen[bytes]) -> Iterator[Mapping[str, object]]:
    if process.stdout is None:
        raise AssertionError("the program was started with a pipe")
    for line in process.stdout:
        document = json.loads(line)
        if "path" not in document and isinstance(document.get("error"), dict):
            raise _reported(document["error"])
        yield document


def _reported(error: Mapping[str, object]) -> SkyharborError:
    code = str(error.get("code"))
    return SkyharborError(code if code in REGISTRY else "internal", str(error.get("message") or ""))


def _failure(code: int, complaints: IO[bytes]) -> SkyharborError:
    complaints.seek(0)
    lines = complaints.read().decode("utf-8", "replace").strip().splitlines()
    said = next((line for line in reversed(lines) if line.startswith("error")), lines[-1] if lines else "")
    return SkyharborError(_BY_EXIT_CODE.get(code, "internal"), said or f"the reader ended with exit code {code}")
