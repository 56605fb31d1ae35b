"""What a server's nodes are in a point.

NFS 3 tells everything with a listing. Of what libnfs makes of NFS 4, inode numbers of listings are noise, and devices
and file systems are not told: there every name is a node of its own, and devices cannot be kept.

Rule of the file: values only.
"""

from __future__ import annotations

import stat

from workers.sources.shares.stats import FarStat, within

_DEVICES = frozenset({stat.S_IFCHR, stat.S_IFBLK})
_KINDS = _DEVICES | {stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK, stat.S_IFIFO, stat.S_IFSOCK}
_SIZED = frozenset({stat.S_IFREG, stat.S_IFLNK})


def stat_of(version: int, told: tuple[int, ...]) -> FarStat | None:
    """Understand the fields of ``library.STAT``; None for a node that cannot be kept."""
    dev, ino, mode, nlink, uid, gid, rdev, size, _, _, _, mtime, ctime, _, mtime_ns, ctime_ns, _ = told
    return _stat(version, mode, (dev, ino, nlink, rdev), size, uid, gid, (mtime, mtime_ns), (ctime, ctime_ns))


def stat_of_row(version: int, told: tuple[int, ...]) -> FarStat | None:
    """Understand the fields of ``library.DIRENT``; None for a node that cannot be kept."""
    ino, mode, size, mtime, ctime = told[2], told[4], told[5], told[8], told[10]
    uid, gid, nlink, dev, rdev = told[12:17]
    return _stat(version, mode, (dev, ino, nlink, rdev), size, uid, gid, (mtime, told[21]), (ctime, told[22]))


def _stat(
    version: int,
    mode: int,
    node: tuple[int, int, int, int],
    size: int,
    uid: int,
    gid: int,
    written: tuple[int, int],
    changed: tuple[int, int],
) -> FarStat | None:
    kind = stat.S_IFMT(mode)
    if kind not in _KINDS or (version == 4 and kind in _DEVICES):
        return None
    dev, ino, nlink, rdev = node if version != 4 else (0, 0, 1, 0)
    return FarStat(
        st_mode=mode,
        st_ino=ino,
        st_size=size if kind in _SIZED else 0,
        st_mtime_ns=_time(*written),
        st_ctime_ns=_time(*changed),
        st_uid=uid,
        st_gid=gid,
        st_dev=dev,
        st_nlink=nlink,
        st_rdev=rdev if kind in _DEVICES else 0,
    )


def _time(seconds: int, nanoseconds: int) -> int:
    if seconds >= 1 << 63:  # before 1970, as C's unsigned
        seconds -= 1 << 64
    return within(seconds * 1_000_000_000 + nanoseconds)
