"""The two commands of one backup, as its session uses them.

Rule of the file: ``release`` is called whatever happened, as often as one likes, and pays once.
"""

from __future__ import annotations

from collections.abc import Callable

from shared.contracts.sources import Hooks
from shared.errors import SkyharborError
from shared.model.backup import Notice
from workers.engine.ports import Guard
from workers.sources.hooks.debt import KIND, Owed, environment, left_behind, note_in
from workers.sources.hooks.permission import allowed
from workers.sources.hooks.running import run

_HINT = "Run it by hand as the worker's user, and see how long it takes: 'skyharbor item show' says how long it may."


class HookPair:
    """The hooks of one backup of an item. Used by one thread.

    ``programs`` is the folder of what may be run, None for nothing; ``folder`` is the item's own on this machine.
    """

    def __init__(
        self,
        hooks: Hooks,
        *,
        item_id: str,
        point_id: str,
        programs: str | None,
        folder: str,
        guard: Guard,
        check: Callable[[], None],
    ) -> None:
        self._hooks = hooks
        self._programs = programs
        self._item_id, self._point_id = item_id, point_id
        self._folder = folder
        self._guard = guard
        self._check = check
        self._owed: Owed | None = None
        self._armed: int | None = None
        self._notices: list[Notice] = []

    def hold(self) -> None:
        """Run the command before; ``source-failed`` with its last words when it does not end well.

        What an earlier backup of the item owes is paid first. The command after is owed from here on, also when the one
        before fails: it may have done half of its work.
        """
        self._pay_old_debt()
        before, after = self._hooks.before, self._hooks.after
        if after:
            allowed(after, self._programs)  # now, and not when something is held already
        if before:
            before = tuple(allowed(before, self._programs))
        if after:
            self._owe(after)
        if before:
            ended = run(
                before,
                environment=environment(self._item_id, self._point_id, ""),
                timeout=self._hooks.timeout,
                check=self._check,
            )
            if not ended.well:
                raise SkyharborError("source-failed", ended.told(before, self._hooks.timeout), hint=_HINT)

    def release(self, outcome: str) -> None:
        """Run the command after, if it is owed. What goes wrong is a notice: the data have been read."""
        owed, self._owed = self._owed, None
        if owed is not None:
            self._pay(owed, outcome)
        if self._armed is not None:
            self._guard.disarm(self._armed)
            self._armed = None

    def notices(self) -> list[Notice]:
        """Return what went wrong so far that the backup can live with."""
        return list(self._notices)

    def _owe(self, after: tuple[str, ...]) -> None:
        owed = Owed(
            command=after,
            item_id=self._item_id,
            point_id=self._point_id,
            timeout=self._hooks.timeout,
            folder=self._programs,
            note=note_in(self._folder),
        )
        owed.write()
        self._owed = owed
        self._armed = self._guard.arm(KIND, owed.details())

    def _pay_old_debt(self) -> None:
        old = left_behind(self._folder)
        if old is not None:
            self._pay(old, "lost")

    def _pay(self, owed: Owed, outcome: str) -> None:
        try:
            ended = owed.pay(outcome)
        except SkyharborError as error:
            self._say(error.detail)
            return
        if not ended.well:
            self._say(ended.told(owed.command, owed.timeout))

    def _say(self, what: str) -> None:
        self._notices.append(Notice("", "hook-failed", f"the command after: {what}"))
