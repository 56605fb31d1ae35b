"""Which session holds a virtual machine: that of one that runs, or that of images.

Rule of the file: the one decision, by what the description has.
"""

from __future__ import annotations

from shared.contracts.sources import VmSource
from shared.errors import SkyharborError
from workers.engine.ports import Session, SessionOrder
from workers.sources.vm.images import ImagesSession
from workers.sources.vm.running import RunningSession


def open_vm(order: SessionOrder, spec: VmSource) -> Session:
    """Hold a machine for one backup. Raises ``source-failed``, ``source-missing``, ``bad-request``, ``Stop``."""
    if spec.libvirt:
        raise SkyharborError("bad-request", "this worker cannot protect libvirt domains")
    return RunningSession(order, spec) if spec.qmp else ImagesSession(order, spec)
