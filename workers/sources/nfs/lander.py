"""Brings a point of an NFS server's folder back: to such a server, or to a folder of this machine.

Over NFS 4 libnfs (4.0) cannot give a folder its mode, owner and time, makes no FIFOs, and gives what a symlink leads to
the owner that the symlink should have: nothing is restored that way.

Rule of the file: it decides where to; how is ``shares.landing``'s and the engine's.
"""

from __future__ import annotations

from shared.contracts.sources import NfsSource
from shared.contracts.work import RestoreDone, RestoreInstruction
from shared.errors import SkyharborError
from shared.vault.reader import PointReader
from workers.engine.ports import Control
from workers.sources.nfs.address import nfs_address
from workers.sources.nfs.server import NfsServer
from workers.sources.nfs.target import NfsTarget
from workers.sources.shares.home_landing import land_at_home
from workers.sources.shares.landing import FarLanding
from workers.sources.shares.target import as_target


def land(reader: PointReader, instruction: RestoreInstruction, *, control: Control, folder: str) -> RestoreDone:  # noqa: ARG001 - the port's signature
    """Bring the point back (see the port): to ``nfs://…``, or to a folder of this machine."""
    if instruction.target.startswith("nfs://"):
        return land_on_server(reader, instruction, control)
    return land_at_home(reader, instruction, control, own=False)


def land_on_server(reader: PointReader, instruction: RestoreInstruction, control: Control) -> RestoreDone:
    """Restore to the folder that the instruction's target names; paths land below it as they are in the point.

    A server is asked as the item's is: as the same user, and by the same ports when it is the same server.
    Raises ``target-invalid``, ``target-unreachable``, ``target-full``, ``path-not-in-point``, ``Stop`` and the store's
    errors.
    """
    address = nfs_address(instruction.target, code="target-invalid")
    if address.version != 3:
        raise SkyharborError(
            "target-invalid",
            f"{instruction.target}: over NFS 4 folders would lose their attributes",
            hint="Restore over NFS 3 (leave ?version=4 away), or to a folder of the worker's machine.",
        )
    source = instruction.source
    uid, gid = (source.uid, source.gid) if isinstance(source, NfsSource) else (0, 0)
    if isinstance(source, NfsSource):
        address = address.beside(nfs_address(source.url))
    server = NfsServer(address, uid=uid, gid=gid)
    try:
        landing = FarLanding(NfsTarget(server), reader, instruction, base=_base(server), control=control)
        return landing.fly()
    finally:
        server.part()


def _base(server: NfsServer) -> bytes:
    """Return the folder below the export, which says what is wrong before anything is done."""
    try:
        return server.base
    except SkyharborError as error:
        raise as_target(error) from error
