"""What a description of a source must be like before anybody is sent to read it.

Rule of the file: one function per workload, each returning the description in its canonical form. Whether what it names
is there is not asked: it may be mounted, or started, later.
"""

from __future__ import annotations

from orchestrator.domain.names import check_file_name, check_path, check_text
from shared.contracts.sources import FilesSource, Hooks, SourceSpec, workload_of
from shared.errors import SkyharborError

MOST_PATHS = 1000
MOST_ARGUMENTS = 100
LONGEST_HOOK = 86400
"""Seconds."""


def checked(spec: SourceSpec) -> SourceSpec:
    """Return the description as it is kept; ``bad-request`` says what to write instead."""
    match spec:
        case FilesSource():
            return _files(spec)
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
        hooks=_hooks(spec.hooks),
        snapshot=spec.snapshot,
        journal=spec.journal,
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
