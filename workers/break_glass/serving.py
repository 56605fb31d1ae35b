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
from shared.lending_options import AllowOther, For, Insecure, Iscsi, Nbd, ServedPaths, TlsCa, TlsFile
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
from workers.break_glass.ways import Disks, way_of
from workers.serving.complaints import Complaints
from workers.serving.exports import choose_exports
from workers.serving.folder import Folder
from workers.serving.mounting import mounting


def register(app: typer.Typer) -> None:
    """Add the two commands."""
    app.command("serve")(serve_command)
    app.command("mount")(mount_command)


def serve_command(
    ctx: typer.Context,
    store: Store,
    machine: Machine,
    nbd: Nbd = None,
    iscsi: Iscsi = None,
    passphrase_file: PassphraseFile = None,
    key_file: KeyFilePath = None,
    item: Item = None,
    point: Point = LATEST,
    path: ServedPaths = None,
    lease: For = DEFAULT_LEASE,
    tls_cert: TlsFile = None,
    tls_key: TlsFile = None,
    tls_ca: TlsCa = None,
    insecure: Insecure = False,
    json: Json = False,  # noqa: ARG001 - read by main, before anything can fail
) -> int:
    """Serve the disks of a recovery point, by NBD or iSCSI, read-only: those at its top (disk0.raw) or PATHs."""
    out = output_of(ctx)
    term = parse_lease(lease)
    way = way_of(nbd=nbd, iscsi=iscsi, cert=tls_cert, key=tls_key, ca=tls_ca, insecure=insecure)
    wanted = [point_path(one) for one in path or []]
    unlocked = unlocked_with(store, machine, proof_of(passphrase_file, key_file), out)
    reader = open_point(unlocked, item=item, point=point, index=load_index(unlocked, out))
    complaints = Complaints(out.say)
    exports = choose_exports(reader, wanted, complaints)
    with _until_stopped() as stopped:
        try:
            uris = way.start(Disks(reader, exports, complaints), stopped.set)
            disks = [
                {"name": export.name, "size": export.image.size, "data": export.image.data, "uri": uris[export.name]}
                for export in exports
            ]
            _announce(reader, term, {"disks": disks, **way.told()}, out)
            for export in exports:
                out.text(f"{export.name}  {export.image.size:,} bytes  {uris[export.name]}")
            for line in way.lines(*next(iter(uris.items()))):
                out.text(line)
            sys.stdout.flush()
            ended = not stopped.wait(term.seconds)
        finally:
            way.stop()
    way.check()
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
    allow_other: AllowOther = False,
    json: Json = False,  # noqa: ARG001 - read by main, before anything can fail
) -> int:
    """Mount the tree of a recovery point, read-only, at DIR. Ctrl-C or 'fusermount3 -u DIR' ends it."""
    out = output_of(ctx)
    term, target, mount = parse_lease(lease), os.path.abspath(folder), mounting()
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
        mount(
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


def _prepare(target: str) -> None:
    try:
        os.makedirs(target, exist_ok=True)
        if os.listdir(target):
            raise SkyharborError("target-invalid", f"{target} is not empty")
    except OSError as error:
        raise SkyharborError("target-invalid", f"{target}: {error.strerror or error}") from error


@contextmanager
def _until_stopped() -> Iterator[threading.Event]:
    """Give an event that SIGINT, SIGTERM and SIGHUP set; the handlers before it are put back."""
    stopped = threading.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature of a handler
        stopped.set()

    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:  # and not when this was started by nohup
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, on_signal) for number in numbers}
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
