"""serve POINT and mount POINT: a recovery point as a disk and as a folder, without restoring it.

Rule of the file: a point and its lease in; the reader program does the rest.
"""

from __future__ import annotations

import os
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from orchestrator.cli.commands.points import ItemOption, PassphraseFile, PointId, find_point, listing_of
from orchestrator.cli.lending import held, run_reader
from orchestrator.cli.session import Session
from shared.errors import ExitCode
from shared.model.lease import DEFAULT_LEASE, parse_lease

For = Annotated[str, typer.Option("--for", metavar="TIME", help="When it ends by itself: 90s, 30m, 8h or 2d.")]
File = Annotated[str | None, typer.Option(metavar="FILE")]


class ServeGroup(TyperGroup):
    """The ``serve`` group, in which ``serve POINT --nbd ADDR`` is short for ``serve point POINT --nbd ADDR``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put in the word that was left out: only a point is served by NBD."""
        by_nbd = any(arg == "--nbd" or arg.startswith("--nbd=") for arg in args)
        if by_nbd and args[0] not in self.commands:
            args = ["point", *args]
        return super().parse_args(ctx, args)


def serve_point(
    ctx: typer.Context,
    point: PointId,
    nbd: Annotated[str, typer.Option(metavar="ADDR", help="Where to listen: unix:PATH or HOST:PORT.")],
    item: ItemOption = None,
    path: Annotated[
        list[str] | None, typer.Option(metavar="PATH", help="Serve this file of the point; may be repeated.")
    ] = None,
    lease: For = DEFAULT_LEASE,
    tls_cert: File = None,
    tls_key: File = None,
    tls_ca: Annotated[
        str | None, typer.Option(metavar="FILE", help="Clients need a certificate that this authority has signed.")
    ] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Let other machines connect without a certificate.")
    ] = False,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Serve the disks of a recovery point, read-only, by NBD: 'serve POINT --nbd unix:PATH' (docs/guides/serving.md).

    Whoever reaches the address reads the disks: a socket file is for this user only, a port of 127.0.0.1 for everybody
    on this machine, and any other one needs certificates of its clients.
    """
    options = ["--nbd", nbd]
    for name, value in (("--tls-cert", tls_cert), ("--tls-key", tls_key), ("--tls-ca", tls_ca)):
        options += [name, value] if value is not None else []
    for one in path or ():
        options += ["--path", one]
    options += ["--insecure"] if insecure else []
    _lend(ctx, "serve", point, item, lease=lease, passphrase_file=passphrase_file, options=options)


def mount(
    ctx: typer.Context,
    point: PointId,
    folder: Annotated[str, typer.Argument(metavar="DIR", help="An empty folder; made if it is missing.")],
    item: ItemOption = None,
    lease: For = DEFAULT_LEASE,
    allow_other: Annotated[
        bool, typer.Option("--allow-other", help="Let other users in, as far as the modes of the files allow it.")
    ] = False,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Mount the tree of a recovery point, read-only, at DIR. Ctrl-C or 'fusermount3 -u DIR' ends it."""
    options = [os.path.abspath(folder), *(["--allow-other"] if allow_other else [])]
    _lend(ctx, "mount", point, item, lease=lease, passphrase_file=passphrase_file, options=options)


def _lend(
    ctx: typer.Context,
    command: str,
    point: str,
    item: str | None,
    *,
    lease: str,
    passphrase_file: str | None,
    options: list[str],
) -> None:
    session, term = Session.of(ctx), parse_lease(lease)
    document = find_point(session.tower(), point, item)
    listing = listing_of(session, document, path=None, passphrase_file=passphrase_file)
    with held(session, document, term):
        code = run_reader(session, command, listing, ["--for", term.said, *options])
    if code != ExitCode.DONE:
        raise typer.Exit(code)
