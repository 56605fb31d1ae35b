"""What a running QEMU, or a storage daemon, has: its disks and their bitmaps, and what it can do.

Rule of the file: looking only; nothing here changes anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from shared.errors import SkyharborError
from workers.sources.vm.qmp import Qmp, QmpFailed

_FILTER_SINCE = (7, 1, 0)
SAFE_IOTHREADS_SINCE = (9, 0, 0)
_FLASH = "cfi.pflash01"


@dataclass(frozen=True, slots=True)
class Bitmap:
    """A dirty bitmap. ``usable``: it has recorded everything since it was made, and nobody else is using it."""

    name: str
    usable: bool
    why_not: str = ""


@dataclass(frozen=True, slots=True)
class Disk:
    """A writable disk of the guest.

    ``device`` is its path in the object model, empty where there is none (a storage daemon's export); ``key`` is what
    it is called from backup to backup. ``node`` is the root of its block graph, ``format`` that node's driver.
    """

    key: str
    device: str
    node: str
    format: str
    size: int
    image: str
    bitmaps: tuple[Bitmap, ...] = ()
    firmware: bool = False

    @property
    def keeps_bitmaps(self) -> bool:
        """Whether its format can store a bitmap, so that it outlives the guest's process."""
        return self.format == "qcow2"

    def bitmap(self, name: str) -> Bitmap | None:
        """Return the bitmap of this name."""
        return next((one for one in self.bitmaps if one.name == name), None)


def disks_of(qmp: Qmp) -> list[Disk]:
    """Return the disks of a guest, or of a storage daemon those that it lets others write to, in their order."""
    if has_devices(qmp):
        return list(_of_devices(qmp))
    return list(_of_exports(qmp))


def has_devices(qmp: Qmp) -> bool:
    """Tell whether this is a guest; a storage daemon has no devices."""
    return "query-status" in _commands(qmp)


def has_filter(qmp: Qmp) -> bool:
    """Tell whether the guest's writes can be kept apart from a scratch disk that is full."""
    return qmp.version >= _FILTER_SINCE and has_devices(qmp)


def refuse_unsafe_iothreads(qmp: Qmp) -> None:
    """Raise ``source-failed`` where the end of a reader's connection would take the whole guest with it.

    QEMU before 9.0 that has the fix of CVE-2024-7409 (Debian's and others') aborts when a client of its NBD server goes
    while a disk is in an I/O thread; which ones have that fix cannot be asked.
    """
    if qmp.version >= SAFE_IOTHREADS_SINCE or not has_devices(qmp):
        return
    if not qmp.execute("query-iothreads"):
        return
    for path in _all_devices(qmp):
        try:
            used = qmp.execute("qom-get", {"path": path, "property": "iothread"})
        except QmpFailed:
            continue  # a device without such a property
        if used:
            version = ".".join(map(str, qmp.version))
            raise SkyharborError(
                "source-failed",
                f"{path} runs in an I/O thread: QEMU {version} may end the guest when a reader goes away",
                hint="Use QEMU 9.0 or newer, or run the guest's disks without iothread.",
            )


def _all_devices(qmp: Qmp) -> Iterator[str]:
    for folder in ("/machine/peripheral", "/machine/peripheral-anon"):
        for child in qmp.execute("qom-list", {"path": folder}):
            if str(child["type"]).startswith("child<"):
                yield f"{folder}/{child['name']}"


def _of_devices(qmp: Qmp) -> Iterator[Disk]:
    for one in qmp.execute("query-block"):
        inserted = one.get("inserted")
        if not inserted or one.get("removable") or inserted.get("ro") or not one.get("qdev"):
            continue
        device = one["qdev"] if one["qdev"].startswith("/") else f"/machine/peripheral/{one['qdev']}"
        yield Disk(
            key=device,
            device=device,
            node=inserted["node-name"],
            format=inserted["drv"],
            size=int(inserted["image"]["virtual-size"]),
            image=str(inserted["image"]["filename"]),
            bitmaps=_bitmaps(inserted.get("dirty-bitmaps", ())),
            firmware=_is_flash(qmp, device),
        )


def _is_flash(qmp: Qmp, device: str) -> bool:
    try:
        return bool(qmp.execute("qom-get", {"path": device, "property": "type"}) == _FLASH)
    except QmpFailed:
        return False


def _of_exports(qmp: Qmp) -> Iterator[Disk]:
    nodes = {node["node-name"]: node for node in qmp.execute("query-named-block-nodes", {"flat": True})}
    for export in qmp.execute("query-block-exports"):
        node = nodes.get(export["node-name"])
        if node is None or node["ro"] or export["shutting-down"]:
            continue
        yield Disk(
            key=export["id"],
            device="",
            node=node["node-name"],
            format=node["drv"],
            size=int(node["image"]["virtual-size"]),
            image=str(node["image"]["filename"]),
            bitmaps=_bitmaps(node.get("dirty-bitmaps", ())),
        )


def _bitmaps(told: Any) -> tuple[Bitmap, ...]:
    return tuple(Bitmap(one["name"], not (why := _why_not(one)), why) for one in told if one.get("name"))


def _why_not(bitmap: dict[str, Any]) -> str:
    if bitmap.get("inconsistent"):
        return "is inconsistent: the machine did not stop cleanly"
    if not bitmap.get("recording"):
        return "does not record"
    return "is used by somebody else" if bitmap.get("busy") else ""


def _commands(qmp: Qmp) -> frozenset[str]:
    return frozenset(one["name"] for one in qmp.execute("query-commands"))
