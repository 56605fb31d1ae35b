"""Virtual machines.

Rule of the file: exactly one way to a machine is named.
"""

from __future__ import annotations

from orchestrator.domain.sources.places import checked_file, checked_paths
from shared.contracts.sources import VmSource
from shared.errors import SkyharborError

MOST_DISKS = 64


def checked_vm(spec: VmSource) -> VmSource:
    """Return the description of a machine, which is either on or off."""
    if spec.libvirt or spec.domain:
        raise SkyharborError(
            "bad-request",
            "libvirt domains cannot be protected by this version: give the QMP socket of a machine that runs, or the"
            " images of one that is off",
            field="source",
        )
    if bool(spec.disks) == bool(spec.qmp):
        raise SkyharborError(
            "bad-request", "give either images (disks) or the QMP socket of a machine that runs (qmp)", field="source"
        )
    if len(spec.disks) > MOST_DISKS:
        raise SkyharborError("bad-request", f"give at most {MOST_DISKS} images", field="source")
    if not spec.qmp and (spec.agent or spec.scratch):
        raise SkyharborError(
            "bad-request", "an agent's socket and a scratch folder are of use only beside a QMP socket", field="source"
        )
    return VmSource(
        disks=checked_paths(spec.disks),
        qmp=checked_file(spec.qmp),
        agent=checked_file(spec.agent),
        freeze=spec.freeze,
        scratch=checked_file(spec.scratch),
    )
