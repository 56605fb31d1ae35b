"""The machines of a vault, and whose packs a collection may touch.

Rule of the file: a pack may be given up only when it opens with the key of a machine of which every manifest could be
read. That nobody else needs it follows from that, because no deduplication crosses a key.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from shared.contracts.work import CollectedMachine
from shared.crypto.domain_keys import DomainKeys
from shared.errors import SkyharborError
from shared.model.backup import Notice
from workers.engine.notices import Notices


class Fleet:
    """The machines that the tower knows in the vault, with the keys that are at hand. One thread.

    ``open_key`` returns a machine's DEK or raises ``key-missing``; such a machine is skipped.
    """

    def __init__(
        self, machines: Sequence[CollectedMachine], open_key: Callable[[str], bytes], notices: Notices
    ) -> None:
        self.skipped: set[str] = set()
        self._notices = notices
        self._names = {one.machine.id: one.machine.name for one in machines}
        self._busy = {one.machine.id for one in machines if one.busy}
        self._keys: dict[str, DomainKeys] = {}
        for machine in self._names:
            try:
                self._keys[machine] = DomainKeys.derive(open_key(machine))
            except SkyharborError as error:
                if error.code != "key-missing":
                    raise
                self.skip(machine, "key-missing", "this worker does not hold its key")

    def knows(self, machine: str) -> bool:
        """Tell whether the tower knows the machine."""
        return machine in self._names

    def keys(self, machine: str) -> DomainKeys | None:
        """Return a machine's keys, None when they are not at hand."""
        return self._keys.get(machine)

    def skip(self, machine: str, code: str, why: str) -> None:
        """Leave alone whatever could be this machine's, and say so once."""
        if machine not in self.skipped:
            self.skipped.add(machine)
            name = self._names.get(machine, machine)
            self._notices.add(Notice("", code, f"nothing of machine {name} is collected: {why}"))

    def known_keys(self) -> list[DomainKeys]:
        """Return the keys of machines of which nothing is hidden: what opens with one may be deleted once it is ripe.

        A key that several machines have counts only if that is true of them all.
        """
        return self._keys_without(self.skipped)

    def idle_keys(self) -> list[DomainKeys]:
        """Return those of them of which no machine has a backup that is not finished."""
        return self._keys_without(self.skipped | self._busy)

    def idle(self) -> list[tuple[str, DomainKeys]]:
        """Return the machines that are not skipped and have no backup that is not finished, with their keys."""
        return [(one, keys) for one, keys in self._keys.items() if one not in self.skipped | self._busy]

    def _keys_without(self, machines: set[str]) -> list[DomainKeys]:
        barred = {keys for machine, keys in self._keys.items() if machine in machines}
        return [keys for keys in dict.fromkeys(self._keys.values()) if keys not in barred]
