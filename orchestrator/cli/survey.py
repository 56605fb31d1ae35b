"""Asks the worker's survey program what is under some paths, and what a first backup of it would add.

Rule of the file: it is run as a program of its own (``python -m workers.survey``), because the planes do not import
each other; they agree on the question and the answer (``shared.contracts.survey``).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence

from orchestrator.cli.settings import program_environment
from shared.contracts.survey import SurveyAnswer
from shared.decoders import converted
from shared.errors import REGISTRY, SkyharborError

_PROGRAM = (sys.executable, "-P", "-m", "workers.survey")


def survey(
    source: Mapping[str, object], *, leave_out: Sequence[str] = (), seconds: float, patience: float = 15.0
) -> SurveyAnswer:
    """Look at a source, as the API shows it, on this machine, for so many seconds.

    ``patience`` is for how much longer a file system may keep the program from noticing that the time is up. Raises
    ``source-missing`` when a path is not there, ``source-failed`` when patience ends, and what the program reports.
    """
    import subprocess

    question = {"source": {"workload": "files", **source}, "leave_out": list(leave_out), "seconds": seconds}
    try:
        done = subprocess.run(
            _PROGRAM,
            input=json.dumps(question).encode(),
            capture_output=True,
            check=False,
            env=program_environment(),
            timeout=seconds + patience,
        )
    except subprocess.TimeoutExpired as error:
        raise SkyharborError("source-failed", f"nothing could be counted within {error.timeout:.0f} s") from None
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        words = done.stderr.decode("utf-8", "replace").strip().splitlines() or [f"exit code {done.returncode}"]
        raise SkyharborError("internal", f"the survey program failed: {words[-1]}") from None
    if "error" in answer:
        code = str(answer["error"]["code"])
        raise SkyharborError(code if code in REGISTRY else "internal", str(answer["error"]["message"]))
    return converted(answer, SurveyAnswer)
