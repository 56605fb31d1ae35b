"""What every matrix needs: small packs, a key slot that opens, a place to restore to, and its counts."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator

import pytest

from tests.faults.scene import real_slots, small_packs
from tests.support.counts import Tally, new_tally


@pytest.fixture(scope="package", autouse=True)
def _small_vaults() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        small_packs(patch)
        real_slots(patch)
        yield


@pytest.fixture
def tally(request: pytest.FixtureRequest, record_property: Callable[[str, object], None]) -> Tally:
    """Counts under the name that the module gives as ``MATRIX``."""
    return new_tally(request.module.MATRIX, record_property)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A folder for scenes and restores, gone when the module is done."""
    folder = str(tmp_path_factory.mktemp("faults"))
    yield folder
    shutil.rmtree(folder)
