"""Where words go: documents to stdout, everything for people's eyes beside them.

Rule of the file: with ``--json`` stdout holds compact ASCII JSON, one document per line, and nothing else; people
read stderr. Names of files and machines are other people's: control characters in them never reach a terminal.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

from shared.model.terminal import printable, printable_lines


@dataclass(frozen=True, slots=True)
class Output:
    """The two streams of one invocation."""

    json: bool

    def document(self, value: object) -> None:
        """Write one JSON document on one line of stdout."""
        sys.stdout.write(json.dumps(value, separators=(",", ":")) + "\n")
        sys.stdout.flush()

    def streamed(self, head: Mapping[str, object], name: str, values: Iterable[object]) -> None:
        """Write one document whose list ``name`` is too long to hold: ``head`` and then the values as they come."""
        opening = json.dumps(head, separators=(",", ":"))[:-1]
        iterator = iter(values)
        # The first value is fetched before anything is written: what fails at once still gets a whole error document.
        first = list(islice(iterator, 1))
        sys.stdout.write(f"{opening}{',' if head else ''}{json.dumps(name)}:[")
        for number, value in enumerate(chain(first, iterator)):
            sys.stdout.write(("," if number else "") + json.dumps(value, separators=(",", ":")))
        sys.stdout.write("]}\n")
        sys.stdout.flush()

    def text(self, line: str = "") -> None:
        """Write a line of a human answer to stdout; nothing with ``--json``."""
        if not self.json:
            sys.stdout.write(printable_lines(line) + "\n")
            sys.stdout.flush()

    def say(self, line: str) -> None:
        """Tell people something beside the answer, on stderr."""
        sys.stderr.write(printable_lines(line) + "\n")
        sys.stderr.flush()

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[str]], *, empty: str = "none") -> None:
        """Write a table to stdout, its first column in bold; ``empty`` is said instead when there are no rows."""
        listed = [list(row) for row in rows]
        if not listed:
            self.say(empty)
            return
        from rich import box
        from rich.table import Table
        from rich.text import Text

        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
        for column in columns:
            table.add_column(column, overflow="fold", no_wrap=column in ("id", "point"))
        for row in listed:
            # Text, not str: names of other people's files and machines must not be read as markup.
            table.add_row(
                *(Text(printable(cell), style="bold" if number == 0 else "") for number, cell in enumerate(row))
            )
        self._render(table)

    def fields(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Write name and value pairs as two columns to stdout."""
        listed = list(pairs)
        width = max((len(name) for name, _ in listed), default=0)
        for name, value in listed:
            sys.stdout.write(f"{name:<{width}}  {printable(value)}\n")
        sys.stdout.flush()

    def _render(self, renderable: Any) -> None:
        from rich.console import Console

        console = Console(file=sys.stdout, highlight=False)
        if not console.is_terminal:
            # In a pipe a table is for grep: no line may be folded at somebody's idea of 80 columns.
            console = Console(file=sys.stdout, highlight=False, width=500)
        console.print(renderable)
