"""The program that looks at what an item would protect: ``python -m workers.survey``, a question in, an answer out.

The question is one JSON document on stdin: ``source`` (``FilesSource``), ``leave_out`` (absolute folders never to
enter, such as the vault) and ``seconds`` to spend. The answer is one on stdout: what was counted within that time, and
what a first backup of it adds (``footprint``). Nothing is read but directories and attributes. A failure is
``{"error": {code, message}}`` and the exit code of the registry.

Rule of the file: the same source adapter and the same rules as the backup's, so that what is counted is what is kept.
"""

from __future__ import annotations

import sys

import msgspec

from shared.clock import Clock, SystemClock
from shared.contracts.work import FilesSource
from shared.errors import ExitCode, SkyharborError
from shared.model.backup import Notice
from workers.engine.footprint import Census, footprint_of
from workers.sources.files import FilesAdapter


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What to look at, and for how long."""

    source: FilesSource
    leave_out: tuple[str, ...] = ()
    seconds: float


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What is there. Unless ``complete``, the time was up and everything is a lower bound. Bytes are bytes."""

    complete: bool
    files: int
    directories: int
    bytes: int
    excluded: int
    warnings: int
    chunks: int
    cache_bytes: int
    metadata_bytes: int


def look(question: Question, clock: Clock) -> Answer:
    """Count until everything is counted or the time is up; at least the first block of nodes."""
    source, census = FilesAdapter(question.source, leave_out=question.leave_out), Census()
    ends, warnings, complete = clock.monotonic() + question.seconds, 0, True
    for found in source.scan():
        if isinstance(found, Notice):
            warnings += 1
            continue
        if not complete:
            break
        census.take(found)
        complete = clock.monotonic() < ends
    else:
        complete = True
    footprint = footprint_of(census)
    return Answer(
        complete=complete,
        files=census.files,
        directories=census.directories,
        bytes=census.bytes,
        excluded=source.excluded,
        warnings=warnings,
        chunks=footprint.chunks,
        cache_bytes=footprint.cache,
        metadata_bytes=footprint.index + footprint.pages,
    )


def main() -> int:
    """Answer the question on stdin and return the exit code."""
    try:
        question = msgspec.json.decode(sys.stdin.buffer.read(), type=Question)
        answer: object = look(question, SystemClock())
        code: int = ExitCode.DONE
    except msgspec.MsgspecError as error:
        answer, code = {"error": {"code": "bad-request", "message": str(error)}}, ExitCode.USAGE
    except SkyharborError as error:
        answer, code = {"error": {"code": error.code, "message": error.detail}}, error.kind.exit_code
    sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
    sys.stdout.buffer.flush()
    return code


if __name__ == "__main__":
    sys.exit(main())
