"""What a domain's definition says of its disks, and what libvirt is told of a backup.

Rule of the file: text in, text out; definitions come from this machine's libvirt.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from dataclasses import dataclass

_AGENT = "org.qemu.guest_agent.0"


@dataclass(frozen=True, slots=True)
class DomainDisk:
    """A disk that the guest can write to. ``source`` is a path where it has one; sizes are not in a definition."""

    target: str
    source: str
    format: str

    @property
    def keeps_bitmaps(self) -> bool:
        """Whether libvirt can make a checkpoint of it."""
        return self.format == "qcow2"


@dataclass(frozen=True, slots=True)
class DomainDefinition:
    """What matters of a definition."""

    disks: tuple[DomainDisk, ...]
    has_agent: bool
    has_iothread: bool
    firmware: str


@dataclass(frozen=True, slots=True)
class BackupDisk:
    """A disk in a backup: what its export is called, its scratch file, the checkpoint to compare with, if any."""

    disk: DomainDisk
    name: str
    scratch: str
    since: str = ""


def read_definition(text: str) -> DomainDefinition:
    """Return what a definition says. ValueError when it is none."""
    try:
        domain = ElementTree.fromstring(text)  # noqa: S314 - libvirt's own words
    except ElementTree.ParseError as error:
        raise ValueError(f"libvirt's definition cannot be read: {error}") from error
    disks = []
    for disk in domain.findall("devices/disk"):
        source, target, driver = disk.find("source"), disk.find("target"), disk.find("driver")
        if disk.get("device", "disk") != "disk" or disk.find("readonly") is not None or target is None:
            continue
        path = "" if source is None else source.get("file") or source.get("dev") or ""
        disks.append(DomainDisk(target.get("dev", ""), path, "raw" if driver is None else driver.get("type", "raw")))
    drivers = (driver.get("iothread") for driver in domain.findall("devices//driver"))
    return DomainDefinition(
        disks=tuple(disks),
        has_agent=any(one.get("name") == _AGENT for one in domain.findall("devices/channel/target")),
        has_iothread=any(drivers),
        firmware=(domain.findtext("os/nvram") or "").strip(),
    )


def backup_xml(disks: Sequence[BackupDisk], socket: str, bitmap: str) -> str:
    """Return what to begin a backup with that is read over a Unix socket; changes are exported under one name."""
    root = ElementTree.Element("domainbackup", mode="pull")
    ElementTree.SubElement(root, "server", transport="unix", socket=socket)
    listed = ElementTree.SubElement(root, "disks")
    for one in disks:
        about = {"name": one.disk.target, "backup": "yes", "type": "file", "exportname": one.name}
        if one.since:
            about |= {"backupmode": "incremental", "incremental": one.since, "exportbitmap": bitmap}
        else:
            about["backupmode"] = "full"
        disk = ElementTree.SubElement(listed, "disk", about)
        ElementTree.SubElement(disk, "driver", type="qcow2")
        ElementTree.SubElement(disk, "scratch", file=one.scratch)
    return ElementTree.tostring(root, encoding="unicode")


def checkpoint_xml(name: str, disks: Sequence[DomainDisk]) -> str:
    """Return what to make a checkpoint with."""
    root = ElementTree.Element("domaincheckpoint")
    ElementTree.SubElement(root, "name").text = name
    listed = ElementTree.SubElement(root, "disks")
    for disk in disks:
        ElementTree.SubElement(listed, "disk", name=disk.target, checkpoint="bitmap" if disk.keeps_bitmaps else "no")
    return ElementTree.tostring(root, encoding="unicode")


def socket_of_backup(text: str) -> str:
    """Return the socket of a backup that is under way, empty where it has none."""
    try:
        server = ElementTree.fromstring(text).find("server")  # noqa: S314 - libvirt's own words
    except ElementTree.ParseError:
        return ""
    return "" if server is None else server.get("socket", "")
