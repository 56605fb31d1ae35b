"""What a restore may be asked for, by the workload of its point.

Rule of the file: a wish that a worker would pass over is refused here: somebody relies on it.
"""

from __future__ import annotations

from collections.abc import Mapping

from shared.errors import SkyharborError

_OPTIONS: dict[str, frozenset[str]] = {
    "vm": frozenset({"format"}),
    "postgres": frozenset({"until", "owner", "tablespaces"}),
    "mysql": frozenset({"until"}),
    "smb": frozenset({"credentials_file"}),
    "sftp": frozenset({"credentials_file"}),
}
_URLS = {"smb": "smb://", "sftp": "sftp://", "nfs": "nfs://"}


def check_restore(workload: str, *, target: str, options: Mapping[str, str]) -> None:
    """Refuse options that a workload does not know, and a target that is the URL of something else."""
    foreign = sorted(options.keys() - _OPTIONS.get(workload, frozenset()))
    if foreign:
        known = ", ".join(sorted(_OPTIONS.get(workload, ()))) or "none"
        raise SkyharborError(
            "bad-request",
            f"a restore of the workload {workload} has no option {', '.join(foreign)}; it has {known}",
            field="options",
            hint="Leave the option away; 'skyharbor restore --help' says what each is for.",
        )
    url = _URLS.get(workload)
    if not target.startswith("/") and (url is None or not target.startswith(url)):
        where = "to a folder" if url is None else f"to a folder, or to {url}..."
        raise SkyharborError(
            "bad-request",
            f"a point of the workload {workload} is restored {where}, not to {target}",
            field="target",
            hint="Give a folder of the worker's machine with --to.",
        )
