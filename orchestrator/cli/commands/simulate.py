"""simulate: run the tower's own rules over a fleet that does not exist yet, and say whether it fits."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from orchestrator.cli import formats
from orchestrator.cli.output import Output
from orchestrator.cli.session import Session
from shared.errors import ExitCode, SkyharborError

_MOST_SCOPES = 12


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command("simulate")(simulate)


def simulate(
    ctx: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FLEET.yaml", help="The fleet; docs/guides/simulating.md.")],
    days: Annotated[int | None, typer.Option(min=1, max=366, help="How long; the file's own days without.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same answer.")] = 0,
    picture: Annotated[str | None, typer.Option(metavar="FILE.svg", help="Draw slots and queue over time.")] = None,
) -> None:
    """Tell whether a fleet fits: RPO, windows, slots and the bottleneck, by the real planner and dispatcher.

    Nothing is asked of a tower and nothing is changed. Ends with 0 when the fleet fits and with 3 when it does not.
    """
    session = Session.of(ctx)
    if picture is not None and not picture.endswith(".svg"):
        raise SkyharborError("bad-request", f"a picture is SVG: write --picture {picture.rsplit('.', 1)[0]}.svg")
    from orchestrator.simulation.fleet_text import parse_fleet
    from orchestrator.simulation.picture import picture_of
    from orchestrator.simulation.report import report_of
    from orchestrator.simulation.run import simulate as run

    fleet = parse_fleet(_read(file))
    report = report_of(run(fleet, days=days, seed=seed))
    if picture is not None:
        _write(picture, picture_of(report))
    if session.out.json:
        session.out.document(report)
    else:
        _show(report, session.out)
    if not report["fits"]:
        raise typer.Exit(ExitCode.WARNINGS)


def _show(report: dict[str, Any], out: Output) -> None:
    out.fields(
        [
            ("fleet", f"{formats.count(report['items'])} items, {report['start'][:10]} to {report['end'][:10]} (UTC)"),
            ("fits", "yes" if report["fits"] else "no"),
            ("bottleneck", report["bottleneck"] or "none"),
            ("backups done", f"{formats.count(report['jobs_done'])}, {report['tib_moved']:,} TiB moved"),
            ("RPO missed", f"{formats.count(report['rpo_missed_items'])} items, {report['rpo_missed_hours']:,} hours"),
            ("attempts lost", f"{formats.count(report['attempts_lost'])} with their worker"),
            ("errors", ", ".join(f"{code} {number:,}" for code, number in report["errors"].items()) or "none"),
        ]
    )
    out.table(
        (
            *("policy", "items", "fires", "missed", "skipped", "done", "replaced", "start missed", "finish missed"),
            *("failed", "open", "RPO missed", "wait p50", "p99", "run p50", "p99"),
        ),
        (
            (
                policy["policy"],
                *(
                    formats.count(policy[key])
                    for key in (
                        *("items", "fires_filed", "fires_missed", "fires_skipped", "jobs_done", "jobs_superseded"),
                        *("jobs_start_missed", "jobs_finish_missed", "jobs_failed", "jobs_open", "rpo_missed_items"),
                    )
                ),
                *(formats.seconds(policy[what][which]) for what in ("wait", "run") for which in ("p50", "p99")),
            )
            for policy in report["policies"]
        ),
    )
    out.table(
        ("scope", "capacity", "mean", "peak", "full", "job hours waited"),
        (
            (
                scope["scope"],
                formats.count(scope["capacity"]),
                f"{scope['mean']:,.1f}",
                formats.count(scope["peak"]),
                f"{scope['share_full']:.1%}",
                f"{scope['job_hours_waited']:,.1f}",
            )
            for scope in report["scopes"][:_MOST_SCOPES]
        ),
    )


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
