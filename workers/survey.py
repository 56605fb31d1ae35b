"""The program that looks at what an item would protect: ``python -m workers.survey``, a question in, an answer out.

Both are JSON (``shared.contracts.survey``). A failure ends it with the exit code of the registry.

Rule of the file: the same source adapter and the same rules as the backup's, so that what is counted is what is kept.
"""

from __future__ import annotations

import sys

import msgspec

from shared.clock import Clock, SystemClock
from shared.contracts.survey import SurveyAnswer, SurveyQuestion
from shared.decoders import json_decoder
from shared.errors import ExitCode, SkyharborError
from shared.model.backup import Notice
from workers.engine.footprint import Census, footprint_of
from workers.engine.ports import Found
from workers.sources.files import FilesAdapter


def look(question: SurveyQuestion, clock: Clock) -> SurveyAnswer:
    """Count until everything is counted or the time is up; at least the first block of nodes."""
    source, census = FilesAdapter(question.source, leave_out=question.leave_out), Census()
    ends, warnings, complete = clock.monotonic() + question.seconds, 0, True
    for found in source.scan():
        if isinstance(found, Notice):
            warnings += 1
            continue
        if not complete:
            break
        if isinstance(found, Found):
            census.take(found)
        complete = clock.monotonic() < ends
    else:
        complete = True
    footprint = footprint_of(census)
    return SurveyAnswer(
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
        question = json_decoder(SurveyQuestion).decode(sys.stdin.buffer.read())
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
