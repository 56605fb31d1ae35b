"""Trees for images: of everything that file systems have, and of ordinary files; and how two of them are compared."""

from __future__ import annotations

import os
import random
import stat
import struct
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

SECOND_NAMES = ("trusted.SGI_ACL_FILE", "trusted.SGI_ACL_DEFAULT")
_EVERYBODY = 0xFFFFFFFF


def _acl(*rows: tuple[int, int, int]) -> bytes:
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *row) for row in rows)


_ACCESS = _acl((1, 6, _EVERYBODY), (2, 6, 1234), (4, 4, _EVERYBODY), (16, 6, _EVERYBODY), (32, 4, _EVERYBODY))
_DEFAULT = _acl((1, 7, _EVERYBODY), (4, 5, _EVERYBODY), (8, 5, 55), (16, 7, _EVERYBODY), (32, 5, _EVERYBODY))


def plain_tree(folder: Path, *, seed: int = 1) -> None:
    """Files and folders that any file system can have."""
    random_ = random.Random(seed)
    (folder / "docs" / "deep" / "deeper").mkdir(parents=True)
    (folder / "docs" / "hello world ü.txt").write_text("héllo\n")
    (folder / "docs" / "deep" / "deeper" / "x").write_bytes(random_.randbytes(70_000))
    (folder / "empty").write_bytes(b"")
    (folder / "large.bin").write_bytes(random_.randbytes(3_000_000))
    many = folder / "many"
    many.mkdir()
    for number in range(300):
        (many / f"a file with a longer name {number:04}.dat").write_bytes(random_.randbytes(random_.randrange(600)))


def unix_tree(folder: Path, *, privileged: bool) -> None:
    """All that a file system of Unix knows; devices and owners of others only for root."""
    plain_tree(folder)
    at = os.fsencode(folder)
    Path(os.fsdecode(at + b"/caf\xe9 latin-1")).write_text("a name that is no UTF-8")
    (folder / "back\\slash:colon\nline").write_text("odd")
    os.symlink("docs/hello world ü.txt", folder / "link")
    os.symlink("x" * 200, folder / "a long link")
    os.symlink(b"\xff\xfe", at + b"/odd link")
    os.link(folder / "large.bin", folder / "docs" / "second name")
    os.mkfifo(folder / "fifo")
    with (folder / "sparse").open("wb") as file:
        file.truncate(20_000_000)
        file.seek(5_000_000)
        file.write(b"data" * 4000)
        file.seek(19_999_990)
        file.write(b"end")
    old, new = folder / "old", folder / "new"
    old.write_text("before the epoch")
    new.write_text("after 2106")
    os.utime(old, ns=(0, -1_234_567_890))
    os.utime(new, ns=(0, 4_500_000_000_123_456_789))
    os.chmod(folder / "empty", 0o4751)  # noqa: S103
    os.chmod(folder / "docs", 0o2770)  # noqa: S103
    if privileged:
        os.mknod(folder / "chr", 0o640 | stat.S_IFCHR, os.makedev(5, 300))
        os.mknod(folder / "blk", 0o640 | stat.S_IFBLK, os.makedev(259, 70_000))
        os.chown(old, 70_000, 100_000)
        os.chown(folder / "link", 7, 8, follow_symlinks=False)


def dress_tree(folder: Path) -> None:
    """Add what copying may not bring along: xattrs of all kinds and sizes, ACLs, flags. On the file system itself."""
    target = folder / "docs" / "deep"
    os.setxattr(target, "user.note", b"short")
    os.setxattr(target, "system.posix_acl_default", _DEFAULT)
    os.setxattr(folder / "new", "system.posix_acl_access", _ACCESS)
    os.setxattr(folder / "new", "security.capability", bytes.fromhex("0100000200200000000000000000000000000000"))
    with suppress(OSError):  # as many as the file system takes
        for number in range(25):
            os.setxattr(folder / "old", f"user.number-{number}", b"v" * number)
    os.setxattr(folder / "large.bin", "trusted.binary", bytes(range(256)))
    for size in (60_000, 3000, 700):  # as large as the file system takes it
        try:
            os.setxattr(folder / "sparse", "user.large", b"L" * size)
            break
        except OSError:
            continue


def crowd(folder: Path, count: int) -> None:
    """A directory that needs an index."""
    (folder / "some").mkdir()
    for number in range(40):
        (folder / "some" / f"one of a few {number}").touch()
    (folder / "crowd").mkdir()
    for number in range(count):
        (folder / "crowd" / f"{number:06}-{'n' * (number % 60)}").touch()


def junk(folder: Path, size: int) -> None:
    """Leave something in blocks that are free again: whatever shows it reads what was never written."""
    with (folder / "junk").open("wb") as file:
        file.write(b"junk" * (size // 4))
        os.fsync(file.fileno())
    (folder / "junk").unlink()
    subprocess.run(["sync", "-f", str(folder)], check=True)


def preallocated(folder: Path, size: int) -> None:
    """A file that was given room, little of which was ever written, where the file system does that."""
    with (folder / "preallocated").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, size)
        file.seek(size // 2)
        file.write(b"written")


def fragments(folder: Path, count: int) -> None:
    """Two files that grow in turns, so that neither is in one piece."""
    with (folder / "odd").open("wb") as odd, (folder / "even").open("wb") as even:
        for number in range(count):
            for file in (odd, even):
                file.write(bytes([number % 251]) * 4096)
                file.flush()
                os.fsync(file.fileno())


def state_of(path: bytes, *, owners: bool = True) -> dict[str, object]:
    """What the kernel says about a node."""
    now = os.lstat(path)
    names = [name for name in os.listxattr(path, follow_symlinks=False) if name not in SECOND_NAMES]
    return {
        "mode": now.st_mode,
        "owner": (now.st_uid, now.st_gid) if owners else None,
        "size": now.st_size if stat.S_ISREG(now.st_mode) else 0,
        "mtime": now.st_mtime_ns,
        "links": now.st_nlink if stat.S_ISREG(now.st_mode) else 1,
        "rdev": now.st_rdev if stat.S_ISCHR(now.st_mode) or stat.S_ISBLK(now.st_mode) else 0,
        "target": os.readlink(path) if stat.S_ISLNK(now.st_mode) else b"",
        "xattrs": sorted((os.fsencode(name), os.getxattr(path, name, follow_symlinks=False)) for name in names),
        "content": Path(os.fsdecode(path)).read_bytes() if stat.S_ISREG(now.st_mode) else b"",
    }


def states(folder: Path, *, without: tuple[bytes, ...] = (b"lost+found",)) -> dict[bytes, dict[str, object]]:
    """What the kernel says about a tree, by the paths in it; the root is the empty path."""
    top = os.fsencode(folder)
    found = {b"": state_of(top)}
    for at, folders, files in os.walk(top):
        folders[:] = [name for name in folders if name not in without]
        for name in (*folders, *files):
            path = os.path.join(at, name)
            found[path[len(top) + 1 :]] = state_of(path)
    return found


def differences(got: Mapping[bytes, Mapping[str, object]], wanted: Mapping[bytes, Mapping[str, object]]) -> list[str]:
    """Say where two trees differ, in words."""
    told = [f"missing: {path!r}" for path in sorted(wanted.keys() - got.keys())]
    told += [f"too much: {path!r}" for path in sorted(got.keys() - wanted.keys())]
    for path in sorted(got.keys() & wanted.keys()):
        for key, value in wanted[path].items():
            if key in got[path] and got[path][key] != value:
                told.append(f"{path!r} {key}: {str(got[path][key])[:90]} instead of {str(value)[:90]}")
    return told
