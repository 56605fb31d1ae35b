"""The session of a system's state: what the machine says is written down first, then read beside its configuration.

Rule of the file: nothing is changed on the machine; what was written down goes when the session ends, whatever happens.
"""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress

import msgspec

from shared.contracts.sources import FilesSource
from shared.errors import SkyharborError
from shared.model.backup import Notice
from workers.engine.ports import SessionOrder
from workers.sources.files import FilesReading
from workers.sources.shown import Shown
from workers.sources.system.asking import Asking
from workers.sources.system.plan import FACTS, plan

_TREES = ("/etc", "/boot")
_KEPT = "facts-"


class SystemSession:
    """The engine's ``Session``. Raises ``source-failed`` when nothing can be written down."""

    state: Mapping[str, str] = {}

    def __init__(self, order: SessionOrder) -> None:
        self._order = order
        self._folder = os.path.join(order.folder, f"{_KEPT}{order.point_id}")
        self._silent: Sequence[str] = ()
        self._sweep()
        try:
            os.mkdir(self._folder, 0o700)
            self._write_down()
        except BaseException as error:
            self.close()
            if isinstance(error, OSError):
                raise SkyharborError("source-failed", f"{self._folder}: {error.strerror}") from error
            raise

    @property
    def reading(self) -> bytes:
        """How it is read: as files, the answers under a path of their own."""
        return msgspec.msgpack.encode(
            FilesReading(
                source=FilesSource(paths=self.paths),
                leave_out=tuple(self._order.leave_out),
                shown=(Shown(FACTS.encode(), os.fsencode(self._folder)),),
            )
        )

    @property
    def paths(self) -> tuple[str, ...]:
        """What is protected, as far as the machine has it."""
        return (*(path for path in _TREES if os.path.isdir(path)), FACTS)

    def notices(self) -> Sequence[Notice]:
        """Say what the machine would not."""
        return [Notice(FACTS, "not-told", line) for line in self._silent]

    def confirm(self) -> None:
        """Each answer and each file is of one moment for itself."""

    def sealed(self) -> None:
        """Nothing has to be remembered."""

    def close(self) -> None:
        """Throw away what was written down."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _write_down(self) -> None:
        said = Asking(self._folder, self._order.check).ask()
        self._silent = said.silent
        said.files["RESTORE.md"] = plan(socket.gethostname(), said).encode()
        for name, content in said.files.items():
            path = os.path.join(self._folder, name)
            os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(content)

    def _sweep(self) -> None:
        """Remove what a worker that was killed has left."""
        with suppress(OSError):
            for name in os.listdir(self._order.folder):
                if name.startswith(_KEPT):
                    shutil.rmtree(os.path.join(self._order.folder, name), ignore_errors=True)
