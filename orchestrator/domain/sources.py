"""What a description of a source must be like before anybody is sent to read it.

Rule of the file: one function per workload, each returning the description in its canonical form. Whether what it names
is there is not asked: it may be mounted, or started, later.
"""

from __future__ import annotations

import re

from orchestrator.domain.names import check_file_name, check_path, check_text
from shared.contracts.sources import FilesSource, SourceSpec, VmSource, workload_of
from shared.errors import SkyharborError

MOST_PATHS = 1000
MOST_DISKS = 64

_LOCAL_LIBVIRT = re.compile(r"qemu:///(system|session)(\?.*)?$")


def checked(spec: SourceSpec) -> SourceSpec:
    """Return the description as it is kept; ``bad-request`` says what to write instead."""
    match spec:
        case FilesSource():
            return _files(spec)
        case VmSource():
            return _vm(spec)
        case _:
            raise SkyharborError("bad-request", f"{workload_of(spec)!r} is no workload that this version knows")


def _files(spec: FilesSource) -> FilesSource:
    if not 1 <= len(spec.paths) <= MOST_PATHS or len(spec.excludes) > MOST_PATHS:
        raise SkyharborError(
            "bad-request", f"give 1 to {MOST_PATHS} paths and at most as many excludes", field="source"
        )
    rules = spec.rules
    if len(rules.if_present) > MOST_PATHS:
        raise SkyharborError("bad-request", f"give at most {MOST_PATHS} names of tags", field="source")
    for name in rules.if_present:
        check_file_name(name, field="source")
    if rules.larger_than is not None and not 1 <= rules.larger_than < 2**63:
        raise SkyharborError("bad-request", "give a size of 1 byte or more, or none for no limit", field="source")
    return FilesSource(
        paths=tuple(dict.fromkeys(check_path(path, field="source") for path in spec.paths)),
        excludes=tuple(check_text(pattern, field="source") for pattern in spec.excludes),
        rules=rules,
    )


def _vm(spec: VmSource) -> VmSource:
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
        disks=tuple(dict.fromkeys(check_path(path, field="source") for path in spec.disks)),
        qmp=_path_or_none(spec.qmp),
        agent=_path_or_none(spec.agent),
        libvirt=check_text(spec.libvirt, field="source"),
        domain=check_text(spec.domain, field="source", longest=255),
        freeze=spec.freeze,
        scratch=_path_or_none(spec.scratch),
    )


def _path_or_none(path: str) -> str:
    return check_path(path, field="source") if path else ""
