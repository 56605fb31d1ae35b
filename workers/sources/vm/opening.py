"""Which session holds a virtual machine: that of one that runs, that of a libvirt domain, or that of images.

Rule of the file: the one decision, by what the description has.
"""

from __future__ import annotations

import time

from shared.contracts.sources import VmSource
from shared.errors import SkyharborError
from shared.model.backup import Notice
from workers.engine.ports import Session, SessionOrder
from workers.sources.vm.description import FileReading
from workers.sources.vm.domain import DomainSession, firmware_of
from workers.sources.vm.domain_xml import read_definition
from workers.sources.vm.images import ImagesSession
from workers.sources.vm.running import RunningSession
from workers.sources.vm.virsh import Virsh

_OFF = "shut off"


def open_vm(order: SessionOrder, spec: VmSource) -> Session:
    """Hold a machine for one backup. Raises ``source-failed``, ``source-missing``, ``Stop``."""
    if spec.libvirt:
        return _open_domain(order, spec)
    return RunningSession(order, spec) if spec.qmp else ImagesSession(order, spec.disks)


def _open_domain(order: SessionOrder, spec: VmSource) -> Session:
    """Hold a libvirt domain, whether it runs or is off."""
    virsh = Virsh(spec.libvirt, spec.domain)
    try:
        state, text = virsh.state(), virsh.definition()
        if state != _OFF:
            return DomainSession(order, spec, virsh, text)
        definition = read_definition(text)
    except (OSError, ValueError) as error:
        raise SkyharborError("source-failed", f"the domain {spec.domain}: {error}") from error
    if not definition.disks or not all(disk.source for disk in definition.disks):
        raise SkyharborError(
            "source-failed", f"the domain {spec.domain} is off, and not all of its disks are images here"
        )
    notices: list[Notice] = []
    papers = [
        FileReading(name="definition.xml", content=text.encode(), time_ns=time.time_ns()),
        *firmware_of(definition, notices),
    ]
    return ImagesSession(order, [disk.source for disk in definition.disks], papers=papers, notices=notices)
