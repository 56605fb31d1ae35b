"""simulate: run the tower's own rules over a fleet that does not exist yet, and say whether it fits."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.cli.output import Output
from orchestrator.cli.session import Session
from orchestrator.cli.simulation_tables import show_beside, show_limit, show_report
from shared.errors import ExitCode, SkyharborError

if TYPE_CHECKING:
    from orchestrator.simulation.fleet import Fleet

_MOST_PERCENT = 10_000.0
_GROWING = ("data", "items")


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command("simulate")(simulate)


def simulate(
    ctx: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FLEET.yaml", help="The fleet; docs/guides/simulating.md.")],
    days: Annotated[int | None, typer.Option(min=1, max=366, help="How long; the file's own days without.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same answer.")] = 0,
    picture: Annotated[str | None, typer.Option(metavar="FILE.svg", help="Draw slots and queue over time.")] = None,
    grow: Annotated[
        str | None, typer.Option(metavar="PERCENT", help="And with so much more data, side by side.")
    ] = None,
    grow_items: Annotated[str | None, typer.Option(metavar="PERCENT", help="And with so many more items.")] = None,
    limit: Annotated[str | None, typer.Option(metavar="data|items", help="Search when it stops fitting.")] = None,
) -> None:
    """Tell whether a fleet fits: RPO, windows, slots and the bottleneck, by the real planner and dispatcher.

    Nothing is asked of a tower and nothing is changed. Ends with 0 when the fleet fits and with 3 when it does not, as
    it is or as it is grown.
    """
    session = Session.of(ctx)
    if picture is not None and not picture.endswith(".svg"):
        raise SkyharborError("bad-request", f"a picture is SVG: write --picture {picture.rsplit('.', 1)[0]}.svg")
    more = {"data": _times(grow, "--grow"), "items": _times(grow_items, "--grow-items")}
    if limit not in (None, *_GROWING):
        raise SkyharborError("bad-request", f"--limit is of data or of items, not of {limit!r}")
    from orchestrator.simulation.fleet_text import parse_fleet
    from orchestrator.simulation.picture import picture_of

    fleet = parse_fleet(_read(file))
    report = _run(fleet, days=days, seed=seed)
    if picture is not None:
        _write(picture, picture_of(report))
    fits = report["fits"]
    if not session.out.json:
        show_report(report, session.out)
    if grow is not None or grow_items is not None:
        fits &= _show_grown(fleet, report, more, session.out, days=days, seed=seed)
    if limit is not None:
        _show_limit(fleet, report, limit, session.out, days=days, seed=seed)
    if session.out.json:
        session.out.document(report)
    if not fits:
        raise typer.Exit(ExitCode.WARNINGS)


def _run(fleet: Fleet, *, days: int | None, seed: int) -> dict[str, Any]:
    from orchestrator.simulation.report import report_of
    from orchestrator.simulation.run import simulate as run

    return report_of(run(fleet, days=days, seed=seed))


def _show_grown(
    fleet: Fleet, report: dict[str, Any], more: dict[str, float], out: Output, *, days: int | None, seed: int
) -> bool:
    """Run the grown fleet, put it into the report as ``grown``, show both; returns whether it fits."""
    from orchestrator.simulation.growth import Grows, grown

    for what, times in more.items():
        fleet = grown(fleet, Grows(what), times)
    after = _run(fleet, days=days, seed=seed)
    report["grown"] = {**more, "report": after}
    if not out.json:
        named = ", ".join(f"{times:g} × {what}" for what, times in more.items() if times != 1)
        show_beside([("as it is", report), (named or "the same", after)], out)
    return bool(after["fits"])


def _show_limit(fleet: Fleet, report: dict[str, Any], of: str, out: Output, *, days: int | None, seed: int) -> None:
    """Search the size at which the fleet stops fitting and put it into the report as ``limit``."""
    from orchestrator.simulation.growth import Grows, grown, limit_of

    tried: list[dict[str, Any]] = []

    def fits(times: float) -> bool:
        found = report if times == 1 else _run(grown(fleet, Grows(of), times), days=days, seed=seed)
        tried.append(
            {
                "times": times,
                **{key: found[key] for key in ("fits", "bottleneck", "rpo_missed_items")},
                "not_done": found["jobs_not_done"],
                "restores_late": sum(each["late"] for each in found["restores"]),
            }
        )
        return bool(found["fits"])

    found = limit_of(fits)
    report["limit"] = {"of": of, "fits": found.fits, "fails": found.fails, "tried": tried}
    if not out.json:
        show_limit(report["limit"], out)


def _times(text: str | None, option: str) -> float:
    """Return by which factor something grows; 1 when nothing was said."""
    if text is None:
        return 1.0
    match = re.fullmatch(r"(\d{1,5}(?:\.\d{1,3})?)\s*%", text.strip())
    if match is None or float(match[1]) > _MOST_PERCENT:
        raise SkyharborError("bad-request", f"{option} takes a percentage such as 25%, not {text!r}")
    return 1 + float(match[1]) / 100


def _read(file: str) -> str:
    try:
        with open(file, encoding="utf-8") as stream:
            return stream.read()
    except OSError as error:
        raise SkyharborError("bad-request", f"{file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SkyharborError("bad-request", f"{file} is not UTF-8 text") from error


def _write(file: str, text: str) -> None:
    try:
        with open(file, "w", encoding="utf-8") as stream:
            stream.write(text)
    except OSError as error:
        raise SkyharborError("bad-request", f"{file}: {error.strerror}") from error
