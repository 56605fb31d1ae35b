"""``serve`` and ``mount``: a recovery point that is used where it lies, until it is stopped or its lease ends.

Rule of the file: nothing of the point is written anywhere; what was made here (a socket, a mount) is gone afterwards.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Annotated

import typer

from shared.clock import SystemClock
from shared.errors import ExitCode, SkyharborError
from shared.model.lease import DEFAULT_LEASE, Lease, parse_lease
from shared.vault.reader import PointReader
from workers.break_glass.output import Output
from workers.break_glass.points import LATEST, open_point
from workers.break_glass.program import (
    Item,
    Json,
    KeyFilePath,
    Machine,
    PassphraseFile,
    Point,
    Store,
    load_index,
    output_of,
    point_path,
    proof_of,
    unlocked_with,
)
from workers.serving.addresses import UnixAddress, check_exposure, parse_address
from workers.serving.complaints import Complaints
from workers.serving.exports import choose_exports
from workers.serving.folder import Folder
from workers.serving.nbd_server import NbdServer, tls_context
from workers.serving.settings import choose_fuse_3

For = Annotated[str, typer.Option("--for", metavar="TIME", help="When it ends by itself: 90s, 30m, 8h or 2d.")]
File = Annotated[str | None, typer.Option(metavar="FILE")]


def register(app: typer.Typer) -> None:
    """Add the two commands."""
    app.command("serve")(serve_command)
    app.command("mount")(mount_command)


def serve_command(
    ctx: typer.Context,
    store: Store,
    machine: Machine,
    nbd: Annotated[str, typer.Option(metavar="ADDR", help="Where to listen: unix:PATH or HOST:PORT.")],
    passphrase_file: PassphraseFile = None,
    key_file: KeyFilePath = None,
    item: Item = None,
    point: Point = LATEST,
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
    json: Json = False,  # noqa: ARG001 - read by main, before anything can fail
) -> int:
    """Serve the disks of a recovery point, read-only, by NBD; without --path those at its top (/disk0.raw is disk0)."""
    out = output_of(ctx)
    term, address = parse_lease(lease), parse_address(nbd)
    tls = tls_context(cert=tls_cert, key=tls_key, ca=tls_ca)
    check_exposure(address, client_certificates=tls_ca is not None, insecure=insecure)
    wanted = [point_path(one) for one in path or []]
    unlocked = unlocked_with(store, machine, proof_of(passphrase_file, key_file), out)
    reader = open_point(unlocked, item=item, point=point, index=load_index(unlocked, out))
    exports = choose_exports(reader, wanted, Complaints(out.say))
    server = NbdServer(exports, address, tls=tls)
    with _until_stopped() as stopped:
        server.start()
        try:
            uris = server.uris()
            disks = [
                {"name": export.name, "size": export.image.size, "data": export.image.data, "uri": uris[export.name]}
                for export in exports
            ]
            _announce(reader, term, {"disks": disks}, out)
            for export in exports:
                out.text(f"{export.name}  {export.image.size:,} bytes  {uris[export.name]}")
            for line in _how_to(server, next(iter(uris.items())), encrypted=tls is not None):
                out.text(line)
            sys.stdout.flush()
            ended = not stopped.wait(term.seconds)
        finally:
            server.stop()
    return _farewell(term, out, by_lease=ended, what="the disks are not served any more")


def mount_command(
    ctx: typer.Context,
    folder: Annotated[str, typer.Argument(metavar="DIR", help="An empty folder; made if it is missing.")],
    store: Store,
    machine: Machine,
    passphrase_file: PassphraseFile = None,
    key_file: KeyFilePath = None,
    item: Item = None,
    point: Point = LATEST,
    lease: For = DEFAULT_LEASE,
    allow_other: Annotated[
        bool, typer.Option("--allow-other", help="Let other users in, as far as the modes of the files allow it.")
    ] = False,
    json: Json = False,  # noqa: ARG001 - read by main, before anything can fail
) -> int:
    """Mount the tree of a recovery point, read-only, at DIR. Ctrl-C or 'fusermount3 -u DIR' ends it."""
    out = output_of(ctx)
    term, target = parse_lease(lease), os.path.abspath(folder)
    choose_fuse_3()
    try:
        from workers.serving.fuse_mount import mount_folder
    except (ImportError, OSError) as error:
        raise SkyharborError(
            "target-invalid",
            f"this machine cannot mount: {error}",
            hint="Install 'skyharbor[mount]' with pip, and the packages fuse3 and libfuse3-3 of the system.",
        ) from error
    _prepare(target)
    unlocked = unlocked_with(store, machine, proof_of(passphrase_file, key_file), out)
    reader = open_point(unlocked, item=item, point=point, index=load_index(unlocked, out))
    ended = threading.Event()

    def end() -> None:
        ended.set()
        os.kill(os.getpid(), signal.SIGTERM)  # libfuse unmounts and returns

    timer = threading.Timer(term.seconds, end)
    timer.daemon = True

    def ready() -> None:
        timer.start()
        _announce(reader, term, {"folder": target}, out)
        out.text(f"mounted at {target}; 'fusermount3 -u {target}' ends it as well")
        sys.stdout.flush()

    try:
        mount_folder(
            Folder(reader, Complaints(out.say)),
            target,
            name=f"skyharbor:{reader.point.point_id}",
            allow_other=allow_other,
            ready=ready,
        )
    finally:
        timer.cancel()
    return _farewell(term, out, by_lease=ended.is_set(), what=f"{target} is not mounted any more")


def _announce(reader: PointReader, term: Lease, what: dict[str, object], out: Output) -> None:
    until, body = term.until(SystemClock().now()), reader.body
    out.document(
        {
            "point": reader.point.point_id,
            "item": body.item_name,
            "machine": body.machine_name,
            "sealed_at": body.sealed_at,
            "until": until,
            **what,
        }
    )
    out.text(f"point {reader.point.point_id} of {body.item_name}, sealed at {body.sealed_at[:19]} UTC, read-only")
    out.text(f"until {until} (--for {term.said}); Ctrl-C ends it earlier")


def _farewell(term: Lease, out: Output, *, by_lease: bool, what: str) -> int:
    out.document({"ended": "lease" if by_lease else "stopped"})
    if by_lease:
        out.say(f"the lease of {term.said} has ended: {what}")
    return ExitCode.DONE


def _how_to(server: NbdServer, first: tuple[str, str], *, encrypted: bool) -> Iterator[str]:
    """Yield lines that can be copied. With TLS every program wants its certificates in a way of its own."""
    name, uri = first
    if encrypted:
        yield f"  look:        nbdinfo '{uri}{'&' if '?' in uri else '?'}tls-certificates=FOLDER'"
        return
    yield f"  look:        nbdinfo '{uri}'"
    yield f"  copy:        qemu-img convert -p -O qcow2 -f raw '{uri}' {name.rpartition('/')[2]}.qcow2"
    yield f"  run from it: qemu-img create -f qcow2 -F raw -b '{uri}' {name.rpartition('/')[2]}.qcow2"
    address = server.address
    where = f"-unix {address.path}" if isinstance(address, UnixAddress) else f"{address.host} {address.port}"
    yield f"  as a device: nbd-client {where} /dev/nbd0 -N {name} -readonly"


def _prepare(target: str) -> None:
    try:
        os.makedirs(target, exist_ok=True)
        if os.listdir(target):
            raise SkyharborError("target-invalid", f"{target} is not empty")
    except OSError as error:
        raise SkyharborError("target-invalid", f"{target}: {error.strerror or error}") from error


@contextmanager
def _until_stopped() -> Iterator[threading.Event]:
    """Give an event that SIGINT and SIGTERM set; the handlers before it are put back."""
    stopped = threading.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature of a handler
        stopped.set()

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
