"""The program ``skyharbor``: its commands, its global options, and how it ends.

Rule of the file: every way out of a command is turned into an exit code here, and only here. Imports are light, so that
``--help`` is quick: what a command needs is imported by the command.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

from orchestrator.cli.break_glass import BreakGlass
from orchestrator.cli.commands import (
    doctor,
    items,
    jobs,
    lending,
    machines,
    oversight,
    points,
    policies,
    retention,
    serve,
    simulate,
    slots,
    stacks,
    vaults,
    work,
)
from orchestrator.cli.failures import report
from orchestrator.cli.output import Output
from orchestrator.cli.ports import PointLister, Stack
from orchestrator.cli.session import Session
from orchestrator.cli.settings import CliSettings, read_settings
from shared.clock import SystemClock
from shared.errors import ExitCode, SkyharborError
from shared.model.terminal import spell_out

_HELP = """Air traffic control for backups.

Global options stand before the command; --json is taken anywhere. Exit codes: 0 done, 1 failed, 2 usage, 3 done with
warnings, 4 no such thing, 5 refused, 6 server or worker unreachable, 130 interrupted."""


def run(argv: Sequence[str] | None = None, *, stack: Stack, lister: PointLister | None = None) -> NoReturn:
    """Run one command line (the process's own without ``argv``) and end the process with its exit code."""
    sys.exit(main(sys.argv[1:] if argv is None else argv, stack=stack, lister=lister))


def main(
    argv: Sequence[str], *, stack: Stack, lister: PointLister | None = None, settings: CliSettings | None = None
) -> int:
    """Run one command line and return its exit code. Nothing escapes but what ends an interpreter."""
    arguments, as_json = hoist_json(argv)
    out = Output(json=as_json)
    spell_out()
    chosen = settings or read_settings()
    session = Session(
        stack=stack,
        lister=lister or BreakGlass(),
        out=out,
        clock=SystemClock(),
        config_file=chosen.config_file,
        home=chosen.default_home,
        token_file=chosen.token_file,
    )
    try:
        return _invoke(arguments or ["--help"], session)
    except SkyharborError as error:
        _trace(chosen)
        return report(error, out)
    except Exception as error:  # noqa: BLE001 - the last place where a defect can be told decently
        _trace(chosen)
        return report(SkyharborError("internal", f"{type(error).__name__}: {error}"), out)
    finally:
        session.close()


def build_app() -> typer.Typer:
    """Return the program; its commands find the ``Session`` in the context's ``obj``."""
    app = typer.Typer(
        name="skyharbor",
        help=_HELP,
        rich_markup_mode=None,  # rich costs a third of a second, and help is read most when patience is short
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_global_options)
    stacks.register(app)
    app.add_typer(serve.commands(), name="serve")
    app.add_typer(vaults.commands(), name="vault")
    app.add_typer(machines.commands(), name="machine")
    app.add_typer(items.commands(), name="item")
    app.add_typer(policies.commands(), name="policy")
    app.add_typer(jobs.commands(), name="job")
    app.add_typer(points.commands(), name="point")
    app.add_typer(retention.commands(), name="retention")
    app.add_typer(slots.slot_commands(), name="slot")
    app.add_typer(slots.tenant_commands(), name="tenant")
    work.register(app)
    app.command("mount")(lending.mount)
    oversight.register(app)
    doctor.register(app)
    simulate.register(app)
    return app


def hoist_json(argv: Sequence[str]) -> tuple[list[str], bool]:
    """Take every ``--json`` out of the arguments before a ``--``, so that it is understood in any position."""
    end = argv.index("--") if "--" in argv else len(argv)
    head = [argument for argument in argv[:end] if argument != "--json"]
    return [*head, *argv[end:]], len(head) < end


def _global_options(
    ctx: typer.Context,
    home: Annotated[
        str | None, typer.Option(metavar="DIR", envvar="SKYHARBOR_HOME", help="Home of the embedded stack.")
    ] = None,
    server: Annotated[
        str | None, typer.Option(metavar="URL", envvar="SKYHARBOR_SERVER", help="A tower elsewhere.")
    ] = None,
    token: Annotated[str | None, typer.Option(envvar="SKYHARBOR_TOKEN", help="The operator's token.")] = None,
    context: Annotated[
        str | None, typer.Option(metavar="NAME", envvar="SKYHARBOR_CONTEXT", help="A server of the configuration file.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout and nothing else.")] = False,  # noqa: ARG001 - hoisted
) -> None:
    session = Session.of(ctx)
    # An empty variable of the environment counts as unset and never arrives here; an empty option is a mistake, such as
    # an unset variable of a script, and must not silently mean another home or server.
    for option, value in (("--home", home), ("--server", server), ("--token", token), ("--context", context)):
        if value == "":
            raise SkyharborError(
                "bad-request", f"{option} is given, but empty", hint=f"Leave {option} out, or fill it."
            )
    session.home = os.path.abspath(os.path.expanduser(home or session.home))
    session.server, session.token, session.context = server, token, context


def _invoke(arguments: list[str], session: Session) -> int:
    """Run the command. Typer returns the code of an ``Exit`` and of Ctrl-C (130), and the command's own None."""
    try:
        code = build_app()(args=arguments, prog_name="skyharbor", standalone_mode=False, obj=session)
    except typer.Abort:
        return ExitCode.INTERRUPTED
    except typer.TyperException as error:
        raise _usage(error) from error
    return code if isinstance(code, int) else ExitCode.DONE


def _trace(settings: CliSettings) -> None:
    if settings.debug:
        import traceback

        traceback.print_exc()


def _usage(error: typer.TyperException) -> SkyharborError:
    context = getattr(error, "ctx", None)
    command = getattr(context, "command_path", "skyharbor")
    told = error.format_message().replace("Value error, ", "", 1)  # who checked it is nobody's business
    return SkyharborError("bad-request", told, hint=f"See '{command} --help'.")
