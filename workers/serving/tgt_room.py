"""A room of its own for tgtd: a view of the file system in which a point is mounted, and which nobody else has.

The room is a namespace of mounts. It ends with the last process in it, and everything in it ends with it: the mount,
tgtd's socket, its lock. So nothing is left when anybody is killed, and nobody but tgtd can look at the point meanwhile.

An ordinary user gets it in a namespace of users too, where the kernel lets him. Under root tgtd is a user who owns
nothing.

Rule of the file: for a process with one thread, which does nothing else; ``OSError`` says what this machine does not
allow.
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource

from workers.disks.sandbox import prctl, unshare

ROOM = "/sys"
"""Hidden by the room: a folder of every machine that neither tgtd nor this program reads."""

POINT = f"{ROOM}/point"

_NEWNS, _NEWUSER = 0x20000, 0x10000000
_RDONLY, _NOSUID, _NODEV, _NOEXEC, _REC, _SLAVE = 1, 2, 4, 8, 0x4000, 0x80000
_NO_NEW_PRIVS = 38
_VIEW = "/proc/self/ns/mnt"
_LONGEST_READ = 1024 * 1024  # as ``fuse_mount`` says it
_FIRST_USER, _USERS = 61184, 4336  # the range that systemd keeps for users that come and go


class Room:
    """What was made. ``fuse`` is the file by which the point's mount is answered: it is for another process."""

    def __init__(self, name: str) -> None:
        """Make the room and go in; ``name`` is what its mount is from, to whoever looks into it."""
        before = os.readlink(_VIEW)
        self._user, self._group = _separate()
        if os.readlink(_VIEW) == before:
            # Whatever the reason is: from here on it would be the machine's own folders that are hidden.
            raise OSError(errno.EPERM, "no namespace of mounts was made")
        # What is unmounted outside has to be unmounted here too; what is mounted here stays here.
        _mount(b"none", b"/", b"none", _REC | _SLAVE, b"")
        _mount(b"skyharbor", ROOM.encode(), b"tmpfs", _NOSUID | _NODEV | _NOEXEC, b"mode=0700,size=1m")
        os.mkdir(POINT)
        self.fuse = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        options = f"fd={self.fuse},rootmode=40000,user_id={self._user},group_id={self._group},max_read={_LONGEST_READ}"
        _mount(name.encode(), POINT.encode(), b"fuse", _RDONLY | _NOSUID | _NODEV | _NOEXEC, options.encode())
        os.chown(ROOM, self._user, self._group)  # last: a root that may not look into the folders of others is out now

    def give_up_rights(self) -> None:
        """Become the room's user, for good, without core dumps: they would hold the secret."""
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if os.geteuid() != self._user:
            os.setgroups([])
            os.setresgid(self._group, self._group, self._group)
            os.setresuid(self._user, self._user, self._user)
        prctl(_NO_NEW_PRIVS, 1)


def _separate() -> tuple[int, int]:
    """Leave the mounts of the machine behind; return the user and the group for tgtd."""
    user, group = os.geteuid(), os.getegid()
    try:
        unshare(_NEWNS)
    except PermissionError:
        unshare(_NEWNS | _NEWUSER)
        for file, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
            with open(f"/proc/self/{file}", "w", encoding="ascii") as told:
                told.write(text)
        return user, group
    own = _FIRST_USER + os.getpid() % _USERS
    return own, own


def _mount(source: bytes, target: bytes, kind: bytes, flags: int, options: bytes) -> None:
    if ctypes.CDLL(None, use_errno=True).mount(source, target, kind, ctypes.c_ulong(flags), options) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{kind.decode()}: {os.strerror(error)}")
