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
from shared.lending_options import AllowOther, For, Insecure, Iscsi, Nbd, ServedPaths, TlsCa, TlsFile
from shared.model.lease import DEFAULT_LEASE, parse_lease


class ServeGroup(TyperGroup):
    """The ``serve`` group: ``serve POINT --nbd ADDR`` is short for ``serve point POINT --nbd ADDR``, and so --iscsi."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put in the word that was left out: only a point is served in these ways."""
        if any(arg.partition("=")[0] in ("--nbd", "--iscsi") for arg in args) and args[0] not in self.commands:
            args = ["point", *args]
        return super().parse_args(ctx, args)


def serve_point(
    ctx: typer.Context,
    point: PointId,
    nbd: Nbd = None,
    iscsi: Iscsi = None,
    item: ItemOption = None,
    path: ServedPaths = None,
    lease: For = DEFAULT_LEASE,
    tls_cert: TlsFile = None,
    tls_key: TlsFile = None,
    tls_ca: TlsCa = None,
    insecure: Insecure = False,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Serve the disks of a recovery point, read-only: 'serve POINT --nbd unix:PATH' (docs/guides/serving.md).

    Whoever reaches the address reads the disks: a socket file is for this user only, a port of 127.0.0.1 for everybody
    on this machine, and any other one needs certificates of its clients. With --iscsi HOST:PORT whoever knows the
    secret of this time reads them; it is in a file that is named, for this user only.
    """
    given = [("--nbd", nbd), ("--iscsi", iscsi), ("--tls-cert", tls_cert), ("--tls-key", tls_key), ("--tls-ca", tls_ca)]
    given += [("--path", one) for one in path or ()]
    options = [word for name, value in given if value is not None for word in (name, value)]
    options += ["--insecure"] if insecure else []
    _lend(ctx, "serve", point, item, lease=lease, passphrase_file=passphrase_file, options=options)


def mount(
    ctx: typer.Context,
    point: PointId,
    folder: Annotated[str, typer.Argument(metavar="DIR", help="An empty folder; made if it is missing.")],
    item: ItemOption = None,
    lease: For = DEFAULT_LEASE,
    allow_other: AllowOther = False,
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
