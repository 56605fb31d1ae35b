"""Takes everything that a session has put into a QEMU out again, by its names.

The session does so at its end, the guard when the worker is dead, the item's next session when both were.

The order is a rule: exports first, by force, so that no reader's end can be the server's business any more; then what
stood between the guest and its disk; then what nobody uses.

Rule of the file: safe to do twice, half, and when there is nothing; what is not ours by name is never touched.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from workers.sources.vm.agent import Agent
from workers.sources.vm.hypervisor import disks_of
from workers.sources.vm.qmp import QemuGone, Qmp, QmpFailed

RELEASE = "vm-release"
THAW = "vm-thaw"
RESUME = "vm-resume"
FOLDER = "vm-folder"
"""Kinds of deeds of the guard."""

FOLDERS = "skyharbor-vm-"
"""How the names of folders begin in which servers of images have their sockets."""


def release(qmp: Qmp, tag: str, *, bitmaps: Iterable[str] = ()) -> list[str]:
    """Take out what has a name that begins with ``tag``, and these bitmaps; return what could not be, in words."""
    problems: list[str] = []
    steps: Sequence[Callable[[], None]] = (
        lambda: _end_exports(qmp, tag),
        lambda: _end_jobs(qmp, tag),
        lambda: _take_nodes_out(qmp, tag),
        lambda: drop_bitmaps(qmp, set(bitmaps)),
        lambda: _stop_server(qmp),
    )
    for step in steps:
        try:
            step()
        except OSError as error:
            problems.append(str(error))
    return problems


def drop_bitmaps(qmp: Qmp, names: set[str]) -> None:
    """Remove bitmaps, from whichever disk has them."""
    if not names:
        return
    for disk in disks_of(qmp):
        for bitmap in disk.bitmaps:
            if bitmap.name in names:
                qmp.execute("block-dirty-bitmap-remove", {"node": disk.node, "name": bitmap.name})


def undo_session(details: Mapping[str, str]) -> None:
    """Release a session whose worker is dead: deed ``vm-release``. Raises OSError when QEMU is not to be reached."""
    folder = details["folder"]
    with contextlib.suppress(QemuGone), Qmp.connect(details["qmp"]) as qmp:
        problems = release(qmp, details["tag"], bitmaps=json.loads(details["bitmaps"]))
        if problems:
            raise QmpFailed("; ".join(problems))  # the guard tries again
    shutil.rmtree(folder, ignore_errors=True)


def thaw_guest(details: Mapping[str, str]) -> None:
    """Let a guest's file systems go on: deed ``vm-thaw``. Raises OSError when the agent is not to be reached."""
    with contextlib.suppress(QemuGone):
        Agent(details["agent"]).thaw()


def resume_guest(details: Mapping[str, str]) -> None:
    """Let a guest run on that was halted for a moment: deed ``vm-resume``. Raises OSError as above."""
    with contextlib.suppress(QemuGone), Qmp.connect(details["qmp"]) as qmp:
        if qmp.execute("query-status")["status"] == "paused":
            qmp.execute("cont")


def remove_folder(details: Mapping[str, str]) -> None:
    """Remove the folder of servers that have died with their worker: deed ``vm-folder``."""
    if os.path.basename(details["folder"]).startswith(FOLDERS):
        shutil.rmtree(details["folder"], ignore_errors=True)


DEEDS: Mapping[str, Callable[[Mapping[str, str]], None]] = {
    RELEASE: undo_session,
    THAW: thaw_guest,
    RESUME: resume_guest,
    FOLDER: remove_folder,
}
"""What the guard does, by kind."""


# ── steps ────────────────────────────────────────────────────────────────────────────────────────────


def _end_exports(qmp: Qmp, tag: str) -> None:
    def ours() -> list[str]:
        return [one["id"] for one in qmp.execute("query-block-exports") if one["id"].startswith(tag)]

    for name in ours():
        with contextlib.suppress(QmpFailed):  # it may be shutting down already
            qmp.execute("block-export-del", {"id": name, "mode": "hard"})
    qmp.wait_until(lambda: not ours(), "the end of an export")


def _end_jobs(qmp: Qmp, tag: str) -> None:
    def ours() -> list[str]:
        return [one["device"] for one in qmp.execute("query-block-jobs") if one["device"].startswith(tag)]

    for name in ours():
        with contextlib.suppress(QmpFailed):
            qmp.execute("block-job-cancel", {"device": name, "force": True})
    qmp.wait_until(lambda: not ours(), "the end of a backup job")


def _take_nodes_out(qmp: Qmp, tag: str) -> None:
    """Remove nodes, those that stand on others first; a filter hands its device back to the node below it."""
    nodes = {one["node-name"]: one for one in qmp.execute("query-named-block-nodes", {"flat": True})}
    ours = sorted(name for name in nodes if name.startswith(tag))
    for name in ours:
        if nodes[name]["drv"] == "snapshot-access":
            qmp.execute("blockdev-del", {"node-name": name})
    below = _below_filters(qmp)
    for name in ours:
        if nodes[name]["drv"] == "copy-before-write":
            _put_back(qmp, name, below[name])
            qmp.execute("blockdev-del", {"node-name": name})
    for name in ours:
        if nodes[name]["drv"] not in ("snapshot-access", "copy-before-write"):
            qmp.execute("blockdev-del", {"node-name": name})


def _put_back(qmp: Qmp, filter_node: str, node: str) -> None:
    for disk in disks_of(qmp):
        if disk.node == filter_node:
            qmp.execute("qom-set", {"path": disk.device, "property": "drive", "value": node})


def _below_filters(qmp: Qmp) -> dict[str, str]:
    """Return which node each copy-before-write filter stands on."""
    graph: dict[str, Any] = qmp.execute("x-debug-query-block-graph")
    names = {node["id"]: node["name"] for node in graph["nodes"]}
    return {names[edge["parent"]]: names[edge["child"]] for edge in graph["edges"] if edge["name"] == "file"}


def _stop_server(qmp: Qmp) -> None:
    """Stop the NBD server when it serves nothing any more."""
    if not any(export["type"] == "nbd" for export in qmp.execute("query-block-exports")):
        with contextlib.suppress(QmpFailed):  # there is none
            qmp.execute("nbd-server-stop")
