"""Brings a point of an SSH server's folder back: to such a server, or to a folder of this machine.

Rule of the file: it decides where to; how is ``shares.landing``'s and the engine's.
"""

from __future__ import annotations

from shared.contracts.sources import SftpSource
from shared.contracts.work import RestoreDone, RestoreInstruction
from shared.errors import SkyharborError
from shared.vault.reader import PointReader
from workers.engine.ports import Control
from workers.sources.credentials import read_credentials
from workers.sources.sftp.address import SftpAddress, sftp_address
from workers.sources.sftp.login import Login, login_of
from workers.sources.sftp.server import SftpServer
from workers.sources.shares.home_landing import land_at_home
from workers.sources.shares.landing import FarLanding
from workers.sources.shares.target import as_target

CREDENTIALS = "credentials_file"
"""The option that names a file for another server than the item's."""


def land(reader: PointReader, instruction: RestoreInstruction, *, control: Control, folder: str) -> RestoreDone:  # noqa: ARG001 - the port's signature
    """Bring the point back (see the port): to ``sftp://…``, or to a folder of this machine."""
    if instruction.target.startswith("sftp://"):
        return land_on_server(reader, instruction, control)
    return land_at_home(reader, instruction, control, own=False)


def land_on_server(reader: PointReader, instruction: RestoreInstruction, control: Control) -> RestoreDone:
    """Restore to the folder that the instruction's target names. Paths land below it as they are in the point.

    Raises ``target-invalid``, ``target-unreachable``, ``target-full``, ``path-not-in-point``, ``Stop`` and the store's
    errors.
    """
    address = sftp_address(instruction.target, code="target-invalid")
    server = SftpServer(address, _login(instruction, address))
    try:
        server.line()  # which says what is wrong before anything is done, and that the library is there
    except SkyharborError as error:
        raise as_target(error) from error
    from workers.sources.sftp.target import SftpTarget

    landing = FarLanding(SftpTarget(server), reader, instruction, base=address.folder, control=control)
    try:
        return landing.fly()
    finally:
        server.part()


def _login(instruction: RestoreInstruction, address: SftpAddress) -> Login:
    """Return those of the option, or the item's own: never for another server than its own, which would learn them."""
    named, source = instruction.options.get(CREDENTIALS, ""), instruction.source
    known_hosts = source.known_hosts if isinstance(source, SftpSource) else ""
    if not named and isinstance(source, SftpSource):
        own = sftp_address(source.url)
        if own.server == address.server:
            named = source.credentials_file
            address = SftpAddress(address.user or own.user, address.host, address.port, address.folder)
    if not named:
        raise SkyharborError(
            "target-invalid",
            f"{instruction.target}: there are no credentials for this server",
            hint="Restore to the item's own server, or give --credentials-file.",
        )
    return login_of(read_credentials(named), address, known_hosts)
