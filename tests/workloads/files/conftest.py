"""File systems of their own, and a journal on them."""

import pytest

from tests.support.holding import Holding
from tests.support.mounts import image
from tests.support.trees import IS_ROOT
from workers.sources.journal.fanotify import Watch

MAKE = {"ext4": ("-q", "-F"), "xfs": ("-q", "-f"), "btrfs": ("-q", "-f")}


@pytest.fixture(params=sorted(MAKE))
def disk(request, tmp_path):
    """The root of an empty file system of each kind that the journal is trusted with."""
    if not IS_ROOT:
        pytest.skip("a file system in an image: needs root to mount")
    with image(request.param, tmp_path / request.param, size=400 * 2**20, make=MAKE[request.param]) as place:
        yield place


@pytest.fixture
def holding(tmp_path):
    try:
        Watch().close()
    except OSError as error:
        pytest.skip(f"the journal: fanotify of Linux 5.17 and root are needed ({error.strerror})")
    held = Holding(tmp_path / "worker")
    yield held
    held.close()
