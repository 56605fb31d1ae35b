"""The command line of break-glass: ``list``, ``ls`` and ``restore``; ``serve`` and ``mount`` are in ``serving``.

Rule of the file: options in, one call, lines out; every way out is turned into an exit code in ``main``. Exit codes:
0 done, 1 failed, 2 usage, 3 done with warnings, 4 no such thing, 5 refused, 6 store unreachable, 130 interrupted.
"""

from __future__ import annotations

import getpass
import os
import sys
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from shared.crypto.passphrase import read_passphrase_file
from shared.errors import ExitCode, SkyharborError
from shared.model.backup import ConflictRule
from shared.model.terminal import spell_out
from shared.vault.entry import Entry
from shared.vault.index import ChunkIndex
from shared.vault.reader import PointReader
from workers.break_glass import listing
from workers.break_glass.output import Output
from workers.break_glass.points import LATEST, list_points, open_point
from workers.break_glass.restoring import tell, watched
from workers.break_glass.unlock import KeyFile, Passphrase, Proof, Unlocked, unlock
from workers.engine.ports import Stop

if TYPE_CHECKING:
    from workers.break_glass.inside import Inside

Store = Annotated[str, typer.Option(metavar="URL", help="Where the vault is: file:///folder or s3://bucket/prefix.")]
Machine = Annotated[str, typer.Option(metavar="NAME", help="Name or id of the machine.")]
PassphraseFile = Annotated[str | None, typer.Option(metavar="FILE", help="File that holds the passphrase.")]
KeyFilePath = Annotated[str | None, typer.Option("--key-file", metavar="FILE", help="A worker's key of the machine.")]
Item = Annotated[str | None, typer.Option(metavar="NAME", help="Name or id of the item.")]
Point = Annotated[str, typer.Option(metavar="ID", help="Id of the point, or 'latest'.")]
Paths = Annotated[list[str] | None, typer.Argument(metavar="[PATH]...", help="Absolute paths as they were.")]
Json = Annotated[bool, typer.Option("--json", help="JSON on stdout and nothing else.")]


def main(argv: Sequence[str]) -> int:
    """Run one command line and return its exit code."""
    end = argv.index("--") if "--" in argv else len(argv)
    out = Output(json="--json" in argv[:end])
    spell_out()
    try:
        code = build_app()(args=list(argv) or ["--help"], prog_name="break-glass", standalone_mode=False, obj=out)
        sys.stdout.flush()
        return code if isinstance(code, int) else ExitCode.DONE
    except SkyharborError as error:
        return out.fail(error)
    except typer.TyperException as error:
        return out.fail(SkyharborError("bad-request", error.format_message(), hint="See 'break-glass --help'."))
    except (typer.Abort, KeyboardInterrupt, Stop):
        out.say("interrupted")
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        # The reader, such as head, has seen enough; the interpreter must not complain about it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.FAILED


def build_app() -> typer.Typer:
    """Return the program; its commands find the ``Output`` in the context's ``obj``."""
    app = typer.Typer(
        help="Restore, or use where it lies, with the vault and the passphrase alone.",
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        add_completion=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.command("list")(list_command)
    app.command("ls")(ls_command)
    app.command("restore")(restore_command)
    from workers.break_glass.serving import register

    register(app)
    return app


def list_command(
    ctx: typer.Context,
    store: Store,
    machine: Machine,
    passphrase_file: PassphraseFile = None,
    key_file: KeyFilePath = None,
    item: Item = None,
    json: Json = False,  # noqa: ARG001 - read by main, before anything can fail
) -> int:
    """List the recovery points of a machine, oldest first."""
    out = output_of(ctx)
    found = list_points(unlocked_with(store, machine, proof_of(passphrase_file, key_file), out), item=item)
    out.document({"points": [listed.document() for listed in found.points]})
    for listed in found.points:
        out.text(listed.line())
    for problem in found.problems:
        out.say(f"warning: {problem}")
    return ExitCode.WARNINGS if found.problems else ExitCode.DONE


def ls_command(
    ctx: typer.Context,
    store: Store,
    machine: Machine,
    paths: Paths = None,
    passphrase_file: PassphraseFile = None,
    key_file: KeyFilePath = None,
    item: Item = None,
    point: Point = LATEST,
    json: Json = False,  # noqa: ARG001 - read by main, before anything can fail
) -> int:
    """List what a recovery point holds: the nodes at PATHs and everything below them, also inside of disks."""
    out = output_of(ctx)
    wanted = [point_path(path) for path in paths or []]
    unlocked = unlocked_with(store, machine, proof_of(passphrase_file, key_file), out)
    damaged: list[SkyharborError] = []
    # Reading in a disk asks for chunks all over the point; a list of entries has a few pages to find.
    index = load_index(unlocked, out) if any(path.startswith(b"disk") for path in wanted) else None
    reader = open_point(unlocked, item=item, point=point, index=index)
    for outcome in _listed(reader, wanted, out):
        if isinstance(outcome, SkyharborError):
            damaged.append(outcome)
        elif out.json:
            out.document(listing.document(outcome))
        else:
            out.text(listing.line(outcome))
    if damaged:
        # At the end, after everything that can be read: who needs this program needs what is left.
        raise SkyharborError(damaged[0].code, f"the list has {len(damaged)} gaps; the first: {damaged[0].detail}")
    return ExitCode.DONE


def _listed(reader: PointReader, wanted: Sequence[bytes], out: Output) -> Iterator[Entry | Inside | SkyharborError]:
    """Yield the entries of a point and, where a path leads into a disk of it, what is inside."""
    from workers.break_glass.inside import inside_of, parts_of_disks
    from workers.disks.browser import leads_inside

    inside = [path for path in wanted if leads_inside(reader, path)]
    others = [path for path in wanted if path not in inside]
    if others or not inside:
        yield from listing.entries_at(reader, others)
    yield from inside_of(reader, inside, say=out.say) if wanted else parts_of_disks(reader)


def restore_command(
    ctx: typer.Context,
    store: Store,
    machine: Machine,
    to: Annotated[str, typer.Option(metavar="DIR", help="Folder to restore into; made if it is missing.")],
    paths: Paths = None,
    passphrase_file: PassphraseFile = None,
    key_file: KeyFilePath = None,
    item: Item = None,
    point: Point = LATEST,
    conflict: Annotated[ConflictRule, typer.Option(help="What to do about what is there already.")] = ConflictRule.SKIP,
    json: Json = False,  # noqa: ARG001 - read by main, before anything can fail
) -> int:
    """Restore a recovery point, or the PATHs of it, below DIR at their original absolute paths."""
    from workers.break_glass.inside import restore

    out = output_of(ctx)
    wanted = [os.fsdecode(b"/" + point_path(path)) for path in paths or []]
    unlocked = unlocked_with(store, machine, proof_of(passphrase_file, key_file), out)
    reader = open_point(unlocked, item=item, point=point, index=load_index(unlocked, out))
    target = os.path.abspath(to)
    started = time.monotonic()
    with watched() as control:
        done = restore(reader, target=target, paths=wanted, conflict=conflict, control=control)
    seconds = time.monotonic() - started
    return tell(reader, done, target=target, seconds=seconds, out=out)


def output_of(ctx: typer.Context) -> Output:
    """Return the output that ``main`` has given to the command."""
    if not isinstance(ctx.obj, Output):
        raise AssertionError("main gives every command its output")
    return ctx.obj


def proof_of(passphrase_file: str | None, key_file: str | None) -> Proof:
    """Return how the machine's key is got, as the options say. Raises ``bad-request``."""
    if key_file is not None and passphrase_file is not None:
        raise SkyharborError("bad-request", "--passphrase-file and --key-file exclude each other")
    if key_file is not None:
        return KeyFile(key_file)
    if passphrase_file is not None:
        return Passphrase(lambda: read_passphrase_file(passphrase_file))
    if not sys.stdin.isatty():
        raise SkyharborError("bad-request", "nobody is here to ask for a passphrase: give --passphrase-file FILE")
    return Passphrase(lambda: getpass.getpass("Passphrase: ", stream=sys.stderr))


def unlocked_with(store: str, machine: str, proof: Proof, out: Output) -> Unlocked:
    """Open the vault, telling what is wrong with it."""
    unlocked = unlock(store=store, machine=machine, proof=proof)
    for problem in unlocked.vault.problems:
        out.say(f"warning: {problem}")
    return unlocked


def load_index(unlocked: Unlocked, out: Output) -> ChunkIndex:
    """Load the index, which saves reading the directory of every pack; what is damaged of it costs only time."""
    index = ChunkIndex.load(unlocked.vault, unlocked.machine_id, unlocked.keys, cache_dir=None)
    for problem in index.problems:
        out.say(f"note: {problem}")
    return index


def point_path(path: str) -> bytes:
    """Return a path of the command line as entries have it: raw bytes, without the leading slash."""
    parts = [part for part in os.fsencode(path).split(b"/") if part not in (b"", b".")]
    if not path.startswith("/") or b".." in parts:
        raise SkyharborError("bad-request", f"{path!r} is not an absolute path as it was on the machine")
    return b"/".join(parts)
