"""What libnfs tells of a node is what a point needs, and what it makes up is left alone."""

import stat

import pytest

from workers.sources.nfs.library import DIRENT, STAT
from workers.sources.nfs.nodes import stat_of, stat_of_row
from workers.sources.shares.stats import FarStat

_NODE = {"dev": 77, "ino": 12, "nlink": 3, "uid": 5, "gid": 6, "rdev": 259, "size": 100}


def _stat(mode, *, mtime=(7, 8), ctime=(9, 10)):
    node = _NODE
    return (
        *(node["dev"], node["ino"], mode, node["nlink"], node["uid"], node["gid"], node["rdev"], node["size"]),
        *(4096, 1, 1, mtime[0], ctime[0], 2, mtime[1], ctime[1], 512),
    )


def _row(mode, *, mtime=(7, 8), ctime=(9, 10)):
    node = _NODE
    return (
        *(0, 0, node["ino"], 1, mode, node["size"], 1, 2, mtime[0], 0, ctime[0], 0),
        *(node["uid"], node["gid"], node["nlink"], node["dev"], node["rdev"], 4096, 1, 512, 3, mtime[1], ctime[1]),
    )


def test_the_structures_are_as_long_as_those_of_c():
    assert (STAT.size, DIRENT.size) == (136, 156)  # behind the latter C pads to 160
    assert (len(_stat(0)), len(_row(0))) == (17, 23)
    assert (len(STAT.unpack(bytes(STAT.size))), len(DIRENT.unpack(bytes(DIRENT.size)))) == (17, 23)


@pytest.mark.parametrize(("understand", "told"), [(stat_of, _stat), (stat_of_row, _row)])
def test_nfs_3_tells_everything(understand, told):
    file = FarStat(
        st_mode=stat.S_IFREG | 0o640,
        st_ino=12,
        st_size=100,
        st_mtime_ns=7_000_000_008,
        st_ctime_ns=9_000_000_010,
        st_uid=5,
        st_gid=6,
        st_dev=77,
        st_nlink=3,
    )
    assert understand(3, told(stat.S_IFREG | 0o640)) == file
    device = file._replace(st_mode=stat.S_IFCHR | 0o600, st_size=0, st_rdev=259)
    assert understand(3, told(stat.S_IFCHR | 0o600)) == device


@pytest.mark.parametrize(("understand", "told"), [(stat_of, _stat), (stat_of_row, _row)])
def test_of_nfs_4_numbers_of_nodes_are_not_taken_and_devices_cannot_be_kept(understand, told):
    found = understand(4, told(stat.S_IFREG | 0o640))
    assert found is not None
    assert (found.st_ino, found.st_dev, found.st_nlink) == (0, 0, 1)
    assert understand(4, told(stat.S_IFBLK | 0o600)) is None


@pytest.mark.parametrize(("understand", "told"), [(stat_of, _stat), (stat_of_row, _row)])
def test_a_node_of_which_nothing_is_told_is_none(understand, told):
    assert understand(3, told(0)) is None


@pytest.mark.parametrize(
    ("seconds", "at"), [(-1, -1_000_000_000 + 5), ((1 << 64) - 1, -1_000_000_000 + 5), (1 << 62, 2**63 - 1)]
)
def test_times_before_1970_and_beyond_what_a_point_holds(seconds, at):
    found = stat_of(4, _stat(stat.S_IFREG, mtime=(seconds, 5)))
    assert found is not None
    assert found.st_mtime_ns == at
