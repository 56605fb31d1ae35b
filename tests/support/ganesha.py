"""A private NFS server in user space (nfs-ganesha) on loopback, with ports of its own, for NFS 3 and 4.

What changes behind its back it sees at once: it is told to keep no attributes and no names.

It insists on registering NFS 3 with a port mapper: that one is its own as well, in a network and a ``/run`` that nobody
else sees. The server itself is in the common network. The mapper changes its user, which makes it deaf to the end of a
parent: it is in processes of its own, which end with their first, and that one with the server.

Rule of the file: nothing outside of the given folder is written.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from shared.contracts.sources import NfsSource
from tests.support.mounts import FORGET_IMAGES
from tests.support.samba import die_with_parent, free_port

_CONF = """
NFS_CORE_PARAM {{
  Protocols = 3, 4; NFS_Port = {port}; MNT_Port = {mount_port}; Bind_addr = 127.0.0.1;
  Enable_NLM = false; Enable_RQUOTA = false; Enable_UDP = false;
}}
NFSv4 {{ Graceless = true; Only_Numeric_Owners = true; Lease_Lifetime = 20; RecoveryRoot = {run}/recovery; }}
EXPORT_DEFAULTS {{
  Access_Type = RW; Squash = No_Root_Squash; SecType = sys; Transports = TCP; Protocols = 3, 4;
  Attr_Expiration_Time = 0;
}}
MDCACHE {{ Dir_Chunk = 0; }}
EXPORT {{ Export_Id = 1; Path = {tree}; Pseudo = {tree}; FSAL {{ Name = VFS; }} }}
EXPORT {{ Export_Id = 2; Path = {squashed}; Pseudo = {squashed}; Squash = Root_Squash; FSAL {{ Name = VFS; }} }}
LOG {{ Default_Log_Level = EVENT; }}
"""

_START = """
{forget}
mount -t tmpfs none /run
mkdir /run/ganesha
setpriv --pdeathsig KILL unshare --net --pid --fork --kill-child sh -c 'ip link set lo up; rpcbind -f -w; exit' &
while [ ! -S /run/rpcbind.sock ]; do sleep 0.02; done
exec ganesha.nfsd -F -f {run}/conf -L {run}/log -p {run}/pid
"""

_PROGRAMS = (
    ("ganesha.nfsd", "nfs-ganesha"),
    ("rpcbind", "rpcbind"),
    ("unshare", "util-linux"),
    ("ip", "iproute2"),
)


def need_ganesha() -> None:
    """Skip, and say what is missing."""
    for program, package in _PROGRAMS:
        if shutil.which(program) is None:
            pytest.skip(f"{program} is missing (Debian: {package})")
    if not list(Path("/usr/lib").glob("*/ganesha/libfsalvfs.so")):
        pytest.skip("ganesha cannot export folders (Debian: nfs-ganesha-vfs)")
    if os.geteuid() != 0:
        pytest.skip("nfs-ganesha needs root")
    if subprocess.run(["unshare", "--mount", "--net", "true"], capture_output=True, check=False, timeout=10).returncode:
        pytest.skip("no namespaces of one's own here")
    try:
        from workers.sources.nfs.library import library

        library()
    except Exception as error:
        pytest.skip(f"{error} (Debian: libnfs13)")


class Ganesha:
    """A running server that exports ``tree`` (one of its own, or what it is given), and ``squashed`` as nobody's."""

    def __init__(self, folder: Path, tree: Path | None = None) -> None:
        self.folder = folder
        self.tree, self.squashed, self._run = tree or folder / "tree", folder / "squashed", folder / "run"
        for place in (self.tree, self.squashed, self._run):
            place.mkdir(parents=True, exist_ok=True)
        for above in (folder, *folder.parents):
            if above.stat().st_uid == os.geteuid() and above != Path("/"):
                above.chmod(above.stat().st_mode | 0o011)  # who is nobody has to get in
        self.port, self.mount_port = free_port(), free_port()
        conf = _CONF.format(
            port=self.port, mount_port=self.mount_port, tree=self.tree, squashed=self.squashed, run=self._run
        )
        (self._run / "conf").write_text(conf)
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def url(self, path: str = "", *, version: int = 3, tree: Path | None = None) -> str:
        how = "version=4" if version == 4 else f"mountport={self.mount_port}"
        return f"nfs://127.0.0.1:{self.port}{tree or self.tree}{path}?{how}"

    def spec(self, path: str = "", *, version: int = 3, **more: object) -> NfsSource:
        return NfsSource(url=self.url(path, version=version), **more)  # type: ignore[arg-type]

    def start(self) -> None:
        """Start it, again after a ``stop``, and wait until it answers."""
        (self._run / "log").unlink(missing_ok=True)
        script = _START.format(run=self._run, forget=FORGET_IMAGES)
        self._process = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "sh", "-c", script],
            stdin=subprocess.DEVNULL,
            stdout=(self._run / "said").open("ab"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=die_with_parent,
        )
        deadline = time.monotonic() + 60
        while not self._answers():
            assert self._process.poll() is None, self.said()
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.05)

    def said(self) -> str:
        """What the server has said."""
        return "\n".join((self._run / name).read_text() for name in ("said", "log") if (self._run / name).exists())

    def _answers(self) -> bool:
        """Tell whether it lets us have the export by either version: it listens before it does."""
        from workers.sources.nfs.context import Context

        for version in (3, 4):
            context = Context(version=version, port=self.port, mount_port=self.mount_port, uid=0, gid=0)
            try:
                context.mount("127.0.0.1", os.fsencode(self.tree))
                context.lstat(b"/")
            except OSError:
                return False
            finally:
                context.close()
        return True

    def pause(self) -> None:
        """Have it say nothing until ``go_on``."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)

    def stop(self) -> None:
        """End the server, and its port mapper, at once."""
        if self._process is None:
            return
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(30)
        self._process = None
