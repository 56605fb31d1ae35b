"""What this program says: documents to stdout, words for people to stderr, failures with the registry's exit code.

Rule of the file: with ``--json`` stdout holds JSON, one document per line, and nothing else. Names from a vault are
other people's: control characters in them never reach a terminal.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass

from shared.errors import SkyharborError
from shared.model.terminal import printable


@dataclass(frozen=True, slots=True)
class Output:
    """The two streams of one run."""

    json: bool

    def document(self, value: object) -> None:
        """Write one JSON document on a line of its own, with ``--json`` only."""
        if self.json:
            sys.stdout.write(json.dumps(value, separators=(",", ":")) + "\n")

    def text(self, line: str) -> None:
        """Write one line of the answer for people, without ``--json`` only."""
        if not self.json:
            sys.stdout.write(printable(line) + "\n")

    def say(self, line: str) -> None:
        """Tell people something beside the answer."""
        sys.stderr.write(printable(line) + "\n")
        sys.stderr.flush()

    def fail(self, error: SkyharborError) -> int:
        """Tell a failure both ways and return its exit code."""
        inner = {"code": error.code, "title": error.kind.title, "message": error.detail, "hint": error.hint}
        self.document({"error": inner})
        what = error.kind.title if error.detail == error.kind.title else f"{error.kind.title}: {error.detail}"
        self.say(f"error: {what} ({error.code})")
        if error.hint:
            self.say(f"hint: {error.hint}")
        return error.kind.exit_code
