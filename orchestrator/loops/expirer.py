"""The expirer: lets go of points that no rule keeps any more, and has vaults collected in which there is garbage.

Rule of the file: rhythm only.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

from orchestrator.domain.system import Leadership
from orchestrator.use_cases.expire import ITEMS_PER_STEP, expire_due
from orchestrator.use_cases.ports import UnitOfWork
from orchestrator.use_cases.request_collect import file_collections

_log = structlog.get_logger(__name__)

LOOK_SECONDS = 10.0


class Expirer:
    """Looks at the items whose time has come, a page at each step, then at the vaults."""

    def __init__(self, unit_of_work: Callable[[], UnitOfWork], *, leading: Callable[[], Leadership | None]) -> None:
        self._unit_of_work = unit_of_work
        self._leading = leading

    def step(self) -> bool:
        """Do one round; True while there is more."""
        leadership = self._leading()
        if leadership is None:
            return False
        looked = expire_due(self._unit_of_work, leadership=leadership)
        if looked.points:
            _log.info("points_expiring", count=looked.points)
        if looked.held_back:
            _log.warning("retention_held_back", items=looked.held_back)
        if looked.items == ITEMS_PER_STEP:
            return True
        with self._unit_of_work() as uow:
            filed = file_collections(uow, leadership=leadership)
        if filed:
            _log.info("collections_filed", count=filed)
        return False
