"""What first backups will add, and whether there is room for it where the worker keeps its cache.

The numbers are those of ``workers.survey``; what they are made of is in ``workers.engine.footprint``. The room for the
vault is not judged: how well data compresses is not known before it is read.

Rule of the file: predictions for several items add up, because they share the disk; so does the time to count.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.cli import formats
from orchestrator.cli.findings import Finding, room_under
from orchestrator.cli.session import Session
from orchestrator.cli.survey import survey
from shared.contracts.survey import SurveyAnswer
from shared.storage.open import local_folder


class Forecast:
    """Predicts one after the other, for ``seconds`` in all; what is left over by one goes to the next.

    Raises what ``survey`` raises, such as ``source-missing``.
    """

    def __init__(self, session: Session, seconds: float) -> None:
        self._session = session
        self._ends = session.clock.monotonic() + seconds
        self._needed = 0

    def of_item(self, item: Mapping[str, Any], vault_url: str | None) -> Finding:
        """Predict for an item, as the API shows it, that goes to this vault."""
        vault = local_folder(vault_url) if vault_url else None
        return self._of(f"item {item['name']}", item["source"], [vault] if vault else [])

    def of_paths(self, paths: Sequence[str]) -> Finding:
        """Predict for absolute paths that no item protects yet, without excludes."""
        return self._of("paths", {"paths": [os.path.abspath(path) for path in paths]}, [])

    def _of(self, check: str, source: Mapping[str, object], leave_out: Sequence[str]) -> Finding:
        left = max(0.0, self._ends - self._session.clock.monotonic())
        found = survey(source, leave_out=leave_out, seconds=left)
        said = _said(found)
        if not self._session.is_local():
            return Finding(check, ok=True, detail=said, prediction=found)
        self._needed += found.cache_bytes
        free, folder = room_under(self._session.stack.cache_folder(self._session.home))
        if self._needed <= free:
            return Finding(check, ok=True, detail=said, prediction=found)
        return Finding(
            check,
            ok=False,
            detail=f"{said}; {formats.size(free)} are free for it under {folder}",
            hint=f"Free at least {formats.size(self._needed)} there, or use a home on a larger disk.",
            prediction=found,
        )


def _said(found: SurveyAnswer) -> str:
    parts = [f"{formats.count(found.files)} files, {formats.size(found.bytes)}"]
    if found.excluded:
        parts.append(f"{formats.count(found.excluded)} left out by rule")
    if found.warnings:
        parts.append(f"{formats.count(found.warnings)} warnings")
    cache = formats.size(found.cache_bytes) if found.cache_bytes else "nothing"
    adds = (
        f"a first backup adds about {formats.size(found.metadata_bytes)} of metadata to the vault, {cache} to the cache"
    )
    limit = "" if found.complete else "at least (the time to count is up; see --seconds) "
    return f"{limit}{', '.join(parts)}; {adds}"
