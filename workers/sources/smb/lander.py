"""Brings a point of a share back: to a share, or to a folder of this machine.

Rule of the file: it decides where to; how is ``shares.landing``'s and the engine's.
"""

from __future__ import annotations

from shared.clock import Clock, SystemClock
from shared.contracts.sources import SmbSource
from shared.contracts.work import RestoreDone, RestoreInstruction
from shared.errors import SkyharborError
from shared.vault.reader import PointReader
from workers.engine.ports import Control
from workers.sources.credentials import read_credentials
from workers.sources.shares.home_landing import land_at_home
from workers.sources.shares.landing import FarLanding
from workers.sources.smb.address import smb_address
from workers.sources.smb.login import login_of
from workers.sources.smb.share import Share
from workers.sources.smb.target import ShareTarget

CREDENTIALS = "credentials_file"
"""The option that names a file for another server than the item's."""


def land(reader: PointReader, instruction: RestoreInstruction, *, control: Control, folder: str) -> RestoreDone:  # noqa: ARG001 - the port's signature
    """Bring the point back (see the port): to ``smb://…`` with everything, or to a folder of this machine."""
    if instruction.target.startswith("smb://"):
        return land_on_share(reader, instruction, control)
    return land_at_home(reader, instruction, control, own=True)


def land_on_share(
    reader: PointReader, instruction: RestoreInstruction, control: Control, *, clock: Clock | None = None
) -> RestoreDone:
    """Restore to the share that the instruction's target names. Paths land below it as they are in the share.

    Raises ``target-invalid``, ``target-unreachable``, ``target-full``, ``path-not-in-point``, ``Stop`` and the store's
    errors.
    """
    address = smb_address(instruction.target, code="target-invalid")
    share = Share(address, login_of(_credentials(instruction, address.server), address), clock or SystemClock())
    landing = FarLanding(ShareTarget(share), reader, instruction, base=address.folder, control=control)
    try:
        return landing.fly()
    finally:
        share.part()


def _credentials(instruction: RestoreInstruction, server: tuple[str, int, str]) -> dict[str, str]:
    """Return those of the option, or the item's own: never for another server than its own, which would learn them."""
    named, source = instruction.options.get(CREDENTIALS, ""), instruction.source
    if not named and isinstance(source, SmbSource) and smb_address(source.url).server[:2] == server[:2]:
        named = source.credentials_file
    if not named:
        raise SkyharborError(
            "target-invalid",
            f"{instruction.target}: there are no credentials for this server",
            hint="Restore to the item's own server, or give --credentials-file.",
        )
    return read_credentials(named)
