"""A command that knows in which order its options were given.

Rule of the file: the parser is asked a second time for the order that it otherwise forgets; nothing is parsed here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import typer
from typer.core import TyperCommand

_ORDER = "skyharbor.option-order"


class CommandInOrder(TyperCommand):
    """Use as ``cls`` of a command whose options say what those before them mean."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse as always and remember the order."""
        _, _, order = self.make_parser(ctx).parse_args(args=list(args))
        ctx.meta[_ORDER] = [parameter.name for parameter in order]
        return super().parse_args(ctx, args)


def in_order(ctx: typer.Context, values: Mapping[str, Sequence[str] | None]) -> Iterator[tuple[str, str]]:
    """Yield every given option of ``values`` (by parameter name, each may be repeated) with its value, as given."""
    rest = {name: iter(given or ()) for name, given in values.items()}
    for name in ctx.meta[_ORDER]:
        if name in rest:
            yield name, next(rest[name])
