"""The papers of a machine: ``vm.json``, which says what the disks were, and the firmware's variables.

Rule of the file: nothing secret goes into a file that is kept: a command line's values that may be secret are left out.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

from shared.errors import SkyharborError
from workers.engine.notices import reason
from workers.sources.vm.description import FileReading
from workers.sources.vm.domain_xml import DomainDisk
from workers.sources.vm.hypervisor import Disk
from workers.sources.vm.moment import Held
from workers.sources.vm.qmp import Qmp, QmpFailed

_MOST_FIRMWARE = 64 * 1024 * 1024


def papers_of(qmp: Qmp, disks: Sequence[Held]) -> bytes:
    """Return the content of ``vm.json`` for a guest that runs."""
    told: dict[str, Any] = {
        "qemu": ".".join(map(str, qmp.version)),
        "name": _ask(qmp, "query-name").get("name", ""),
        "uuid": _ask(qmp, "query-uuid").get("UUID", ""),
        "disks": [
            {
                "file": f"{one.name}.raw",
                "device": one.disk.key,
                "format": one.disk.format,
                "image": one.disk.image,
                "size": one.disk.size,
            }
            for one in disks
        ],
    }
    return to_bytes(told)


def papers_of_domain(definition: str, disks: Mapping[str, DomainDisk]) -> dict[str, bytes]:
    """Return the papers of a libvirt domain by their names: ``vm.json``, and the definition as libvirt gave it."""
    listed = [
        {"file": f"{name}.raw", "device": disk.target, "format": disk.format, "image": disk.source}
        for name, disk in disks.items()
    ]
    return {"definition.xml": definition.encode(), "vm.json": to_bytes({"disks": listed})}


def to_bytes(told: dict[str, Any]) -> bytes:
    """Return papers as text for people and programs."""
    return json.dumps(told, indent=2, sort_keys=True).encode() + b"\n"


def firmware_file(disk: Disk, folder: str, time_ns: int) -> list[FileReading]:
    """Copy the firmware's variables into the session's folder; nothing when they are not in a small file."""
    name = f"firmware-{re.sub(r'[^A-Za-z0-9]+', '-', disk.key).strip('-')}.fd"
    copy = f"{folder}/{name}"
    try:
        if os.stat(disk.image).st_size > _MOST_FIRMWARE:
            return []
        shutil.copyfile(disk.image, copy)
    except OSError as error:
        raise SkyharborError("source-failed", f"{disk.image}: {reason(error)}") from error
    return [FileReading(name=name, path=copy, time_ns=time_ns)]


def _ask(qmp: Qmp, command: str) -> dict[str, Any]:
    try:
        told = qmp.execute(command)
    except QmpFailed:
        return {}  # a storage daemon is no machine
    return told if isinstance(told, dict) else {}
