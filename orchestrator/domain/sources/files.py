"""Files and folders of a machine.

Rule of the file: patterns are taken as they are; whether they can be used is the API's to say.
"""

from __future__ import annotations

import msgspec

from orchestrator.domain.names import check_file_name, check_text
from orchestrator.domain.sources.places import MOST_PATHS, checked_excludes, checked_paths
from shared.contracts.sources import FilesSource, Hooks
from shared.errors import SkyharborError

MOST_ARGUMENTS = 100
LONGEST_HOOK = 86400
"""Seconds."""


def checked_files(spec: FilesSource) -> FilesSource:
    """Return the description of paths of a machine."""
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
    if not 0 <= spec.snapshot_percent <= 100:
        raise SkyharborError("bad-request", "give a snapshot 1 to 100 percent, or 0 for what is usual", field="source")
    return msgspec.structs.replace(
        spec,
        paths=checked_paths(spec.paths),
        excludes=checked_excludes(spec.excludes),
        hooks=_hooks(spec.hooks),
    )


def _hooks(hooks: Hooks) -> Hooks:
    if not 1 <= hooks.timeout <= LONGEST_HOOK:
        raise SkyharborError("bad-request", f"give a hook 1 to {LONGEST_HOOK} seconds", field="source")
    return Hooks(before=_command(hooks.before), after=_command(hooks.after), timeout=hooks.timeout)


def _command(command: tuple[str, ...]) -> tuple[str, ...]:
    if len(command) > MOST_ARGUMENTS:
        raise SkyharborError("bad-request", f"give a hook at most {MOST_ARGUMENTS} arguments", field="source")
    for argument in command[:1]:
        check_text(argument, field="source")
        if not argument.strip():
            raise SkyharborError("bad-request", "a hook begins with the name of its program", field="source")
    if any("\0" in argument for argument in command):
        raise SkyharborError("bad-request", "an argument of a hook cannot hold a zero byte", field="source")
    return command
