"""Takes a session out of libvirt again: its backup job, its checkpoint, a guest at rest.

Rule of the file: safe to do twice, half, and when there is nothing; a backup that is not ours by its socket is let be.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping

from workers.sources.vm.domain_xml import socket_of_backup
from workers.sources.vm.virsh import Virsh, VirshFailed

RELEASE = "vm-domain-release"
THAW = "vm-domain-thaw"
"""Kinds of deeds of the guard."""

_NO_BITMAP = "not found in backing chain"
_GONE = ("failed to get domain", "domain is not running")


def end_backup(virsh: Virsh, folders: str) -> bool:
    """End the backup whose socket is in a folder that begins so; False when another one is under way."""
    job = virsh.backup_job()
    if job is None:
        return True
    if not socket_of_backup(job).startswith(folders):
        return False
    virsh.end_backup()
    return True


def drop_checkpoint(virsh: Virsh, name: str) -> None:
    """Delete a checkpoint, if it is there, also one whose bitmap went with a guest that did not stop cleanly."""
    if name not in virsh.checkpoints():
        return
    try:
        virsh.delete_checkpoint(name)
    except VirshFailed as error:
        if _NO_BITMAP not in str(error):
            raise
        virsh.delete_checkpoint(name, only_name=True)


def undo_session(details: Mapping[str, str]) -> None:
    """Release a session whose worker is dead. Raises OSError when libvirt does not do it."""
    virsh = Virsh(details["uri"], details["domain"])
    try:
        end_backup(virsh, details["folder"])
        if details["checkpoint"]:
            drop_checkpoint(virsh, details["checkpoint"])
    except VirshFailed as error:
        if not any(words in str(error) for words in _GONE):
            raise
    shutil.rmtree(details["folder"], ignore_errors=True)


def thaw_guest(details: Mapping[str, str]) -> None:
    """Let a guest's file systems go on. Raises OSError when libvirt does not do it."""
    try:
        Virsh(details["uri"], details["domain"]).thaw()
    except VirshFailed as error:
        if not any(words in str(error) for words in _GONE):
            raise


DEEDS: Mapping[str, Callable[[Mapping[str, str]], None]] = {RELEASE: undo_session, THAW: thaw_guest}
"""What the guard does, by kind."""
