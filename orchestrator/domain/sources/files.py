"""Files and folders of a machine.

Rule of the file: patterns are taken as they are; whether they can be used is the API's to say.
"""

from __future__ import annotations

import msgspec

from orchestrator.domain.names import check_file_name
from orchestrator.domain.sources.places import MOST_PATHS, checked_excludes, checked_paths
from shared.contracts.sources import FilesSource
from shared.errors import SkyharborError


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
    return msgspec.structs.replace(spec, paths=checked_paths(spec.paths), excludes=checked_excludes(spec.excludes))
