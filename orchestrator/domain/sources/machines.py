"""Virtual machines.

Rule of the file: exactly one way to a machine is named.
"""

from __future__ import annotations

import re

from orchestrator.domain.names import check_text
from orchestrator.domain.sources.places import checked_file, checked_paths
from shared.contracts.sources import VmSource
from shared.errors import SkyharborError

MOST_DISKS = 64

_LOCAL_LIBVIRT = re.compile(r"qemu:///(system|session)(\?.*)?$")


def checked_vm(spec: VmSource) -> VmSource:
    """Return the description of a machine: its images, or the one way in which it is reached while it runs."""
    if [bool(spec.disks), bool(spec.qmp), bool(spec.libvirt)].count(True) != 1:
        raise SkyharborError(
            "bad-request",
            "give images (disks), or the QMP socket of a machine that runs (qmp), or a libvirt connection (libvirt)",
            field="source",
        )
    if len(spec.disks) > MOST_DISKS:
        raise SkyharborError("bad-request", f"give at most {MOST_DISKS} images", field="source")
    if bool(spec.libvirt) != bool(spec.domain) or spec.domain.startswith("-"):
        raise SkyharborError("bad-request", "a libvirt connection goes with the name of a domain", field="source")
    if spec.libvirt and not _LOCAL_LIBVIRT.match(spec.libvirt):
        raise SkyharborError(
            "bad-request",
            "the worker must be on the domain's host: write qemu:///system or qemu:///session",
            field="source",
        )
    if (spec.agent and not spec.qmp) or (spec.scratch and spec.disks):
        raise SkyharborError(
            "bad-request",
            "an agent's socket goes with a QMP socket, a scratch folder with a machine that runs",
            field="source",
        )
    return VmSource(
        disks=checked_paths(spec.disks),
        qmp=checked_file(spec.qmp),
        agent=checked_file(spec.agent),
        libvirt=check_text(spec.libvirt, field="source"),
        domain=check_text(spec.domain, field="source", longest=255),
        freeze=spec.freeze,
        scratch=checked_file(spec.scratch),
    )
