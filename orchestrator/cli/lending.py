"""A recovery point that is used where it lies: held at the tower for as long, and read by a program beside it.

Names, keys and bytes never pass through the tower (decision 1): the reader program reads the vault, like for ``point
ls``. All that the tower does is not to let the point go meanwhile.

Rule of the file: what a person has decided about the point is left as it is; a hold of ours ends by itself with the
lease, whatever becomes of this program.
"""

from __future__ import annotations

import ctypes
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from types import FrameType
from typing import TYPE_CHECKING, Any

from orchestrator.cli.break_glass import READER
from orchestrator.cli.client import at
from orchestrator.cli.ports import Listing
from orchestrator.cli.session import Session
from orchestrator.cli.settings import program_environment
from shared.errors import SkyharborError
from shared.model.lease import Lease

if TYPE_CHECKING:
    import subprocess

_CAN_GO = ("sealed", "expiring")
_TO_BEGIN = timedelta(minutes=10)  # the lease begins when the point is open, and a large vault has a large index
_PDEATHSIG = 1  # prctl(2)


@contextmanager
def held(session: Session, document: Mapping[str, Any], lease: Lease) -> Iterator[None]:
    """Hold the point until the lease ends, or the block does; said, and not fatal, when the tower does not want to.

    A hold that somebody has placed before is left alone, and so is a damaged point: to release that one would say that
    a person has looked at it.
    """
    if document.get("held_at") or document["state"] not in _CAN_GO:
        yield
        return
    point, ours = str(document["id"]), None
    try:
        asked = {"until": lease.until(session.clock.now() + _TO_BEGIN)}
        ours = session.tower().post(at("points", point, "hold"), asked).get("held_until")
    except SkyharborError as error:
        session.out.say(f"warning: the point is not held: {error}; if retention lets it go, reading will fail")
    try:
        yield
    finally:
        if ours is not None:
            _release(session, point, ours)


def _release(session: Session, point: str, ours: str) -> None:
    """End our hold, unless somebody has changed it. What goes wrong is only said: it ends with the lease anyway."""
    try:
        if session.tower().get(at("points", point)).get("held_until") == ours:
            session.tower().post(at("points", point, "release"), {})
    except SkyharborError as error:
        session.out.say(f"warning: the point stays held until {ours}: {error}")


def run_reader(session: Session, command: str, listing: Listing, arguments: Sequence[str]) -> int:
    """Run the reader program on this terminal until it ends, and return its exit code.

    It gets the signals that this program gets, and ends when this program dies.
    """
    import subprocess

    proof = (
        ["--key-file", listing.key_file] if listing.key_file else ["--passphrase-file", listing.passphrase_file or ""]
    )
    process = subprocess.Popen(
        [
            *READER, command, *(["--json"] if session.out.json else []), "--store", listing.store,
            "--machine", listing.machine, *proof, "--item", listing.item, "--point", listing.point, *arguments,
        ],
        env=program_environment(),
        preexec_fn=_end_with_us,  # no other thread of ours has begun
    )  # fmt: skip
    with _passed_on(process):
        return process.wait()


@contextmanager
def _passed_on(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Leave it to the program what SIGINT and SIGTERM mean."""

    def pass_on(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature of a handler
        process.send_signal(number)

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end_with_us() -> None:
    ctypes.CDLL(None).prctl(_PDEATHSIG, signal.SIGTERM)
