"""What a backup does about a vault that has lost something, besides storing again what it reads again.

Rule of the file: nothing here stops a backup; what is wrong is said, because older points may need more than the source
still has.
"""

from __future__ import annotations

from shared.contracts.work import BackupInstruction
from shared.crypto.domain_keys import DomainKeys
from shared.errors import SkyharborError
from shared.model.backup import Notice
from shared.vault.index import ChunkIndex
from shared.vault.index_loading import pack_table
from shared.vault.manifest import read_manifest
from shared.vault.point import PackRef
from shared.vault.reader import PointReader
from shared.vault.vault import Vault
from workers.engine.notices import Notices

UNUSABLE = frozenset({"object-missing", "object-damaged"})
"""Codes of a point that cannot be read, as opposed to a store that cannot be reached."""


def complete_index(index: ChunkIndex, vault: Vault, keys: DomainKeys, reference: PointReader) -> None:
    """Read the directories of packs that the last point names and no index segment covers, as when one was deleted.

    Otherwise all that they hold would be read and stored a second time, without a word. Packs that the index was told
    to forget are left alone.
    """
    covered = index.pack_names()
    forgotten = index.forgotten.holds([pack.name for pack in reference.packs]).tolist()
    for pack, gone in zip(reference.packs, forgotten, strict=True):
        if pack.name not in covered and not gone:
            try:
                index.recover(pack_table(vault, pack, keys)[0])
            except SkyharborError as error:
                if error.code not in UNUSABLE:
                    raise


def restore_header(vault: Vault, instruction: BackupInstruction, notices: Notices) -> None:
    """Put a lost ``vault.json`` again, when the tower agrees which vault this is; say what is wrong in any case."""
    for problem in vault.problems:
        put = vault.id == instruction.vault.id and vault.put_header(name=instruction.vault.name)
        notices.add(Notice("", "vault-header", f"{problem}{'; it was put again' if put else ''}"))


def tell_lost(
    lost: frozenset[str],
    vault: Vault,
    keys: DomainKeys,
    instruction: BackupInstruction,
    reference: PointReader | None,
    notices: Notices,
) -> None:
    """Say it when the last point has lost packs. Once a later point was made without them, that is over."""
    try:
        packs = reference.packs if reference else _packs_of_last_point(vault, keys, instruction)
    except SkyharborError as error:
        if error.code not in UNUSABLE:
            raise
        return  # without a description nobody knows what it needed
    named = [pack.name for pack in packs if pack.name in lost]
    if named:
        message = (
            f"{len(named)} packs of the last point are missing or damaged, such as {named[0]}; "
            "what the source still has of them is stored again, so that older points get it back too"
        )
        notices.add(Notice("", "pack-missing", message))


def _packs_of_last_point(vault: Vault, keys: DomainKeys, instruction: BackupInstruction) -> tuple[PackRef, ...]:
    points = vault.points(instruction.machine.id, instruction.item.id)
    return read_manifest(vault, points[-1], keys).packs if points else ()
