"""Files and folders of this machine."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from shared.contracts.sources import FilesSource, SourceSpec
from shared.model.backup import ConflictRule
from shared.vault.reader import PointReader
from tests.exam.seat import Seat
from tests.support.uncontrolled import Uncontrolled
from workers.engine.restore import restore_point


class FilesSeat:
    """A tree of some hundred files; a file is of one moment for itself, the tree is not."""

    name = "files"

    def __init__(self, folder: Path) -> None:
        self._tree = folder / "tree"
        self._rng = random.Random(11)
        self._times = 0
        for number in range(400):
            place = self._tree / str(number % 20) / f"file{number}"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(self._rng.randbytes(self._rng.randrange(20_000)))
        (self._tree / "large").write_bytes(self._rng.randbytes(8 << 20))
        (self._tree / "journal").write_bytes(b"0" * 64)
        self.spec: SourceSpec = FilesSource(paths=(str(self._tree),))

    def truth(self) -> object:
        return _content(self._tree)

    def change(self) -> None:
        (self._tree / "3" / "file3").write_bytes(self._rng.randbytes(5000))

    def restored(self, reader: PointReader, target: Path) -> object:
        restore_point(
            reader, target=str(target), paths=(), conflict=ConflictRule.SKIP, control=Uncontrolled(), muster=None
        )
        return _content(Path(f"{target}{self._tree}"))

    def left_behind(self) -> Sequence[str]:
        return []

    def wrong(self) -> Sequence[tuple[SourceSpec, str]]:
        return [(FilesSource(paths=("/nowhere/at/all",)), "/nowhere/at/all")]

    def write_on(self) -> None:
        self._times += 1
        (self._tree / "journal").write_bytes(b"%d" % (self._times % 10) * 64)

    def is_of_one_moment(self, truth: object) -> bool:
        assert isinstance(truth, Mapping)
        return len(set(truth["journal"])) == 1

    def die(self) -> bool:
        return False

    def close(self) -> None:
        """Nothing was started."""


def _content(tree: Path) -> Mapping[str, bytes]:
    return {str(path.relative_to(tree)): path.read_bytes() for path in sorted(tree.rglob("*")) if path.is_file()}


def seats() -> Mapping[str, Callable[[Path], Seat]]:
    return {"files": FilesSeat}
