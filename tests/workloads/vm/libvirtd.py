"""A libvirt of an ordinary user, with one domain that has no operating system in it."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import time
from collections.abc import Sequence

import pytest

from tests.workloads.vm.guest import Oracle, make_image, need
from workers.sources.children import tied

_DISK = """<disk type='file' device='disk'><driver name='qemu' type='{format}' discard='unmap'/>
<source file='{image}'/><target dev='{target}' bus='virtio'/></disk>"""
_DOMAIN = """<domain type='qemu'><name>lab</name><memory unit='MiB'>64</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='q35'>hvm</type></os>
<devices><emulator>{emulator}</emulator>{disks}
<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel></devices></domain>"""


class Domain:
    """The domain ``lab``; ``images`` are (path, format)."""

    def __init__(self, folder: str, formats: Sequence[str], size: int) -> None:
        need("libvirtd", "virsh", "qemu-system-x86_64", "qemu-img")
        self.folder = folder
        self.oracles: list[Oracle] = []
        os.makedirs(f"{folder}/run")
        self.images = []
        for number, image_format in enumerate(formats):
            self.images.append(make_image(f"{folder}/d{number}.{image_format}", size, image_format))
            self.oracles.append(Oracle(f"{folder}/oracle{number}", size))
        disks = "".join(
            _DISK.format(format=image_format, image=image, target=f"vd{chr(97 + number)}")
            for number, (image, image_format) in enumerate(zip(self.images, formats, strict=True))
        )
        with open(f"{folder}/domain.xml", "w") as made:
            made.write(_DOMAIN.format(emulator=shutil.which("qemu-system-x86_64"), disks=disks))
        self.uri = f"qemu:///session?socket={folder}/run/libvirt/libvirt-sock"
        self._daemon = self._started()
        self.virsh("define", f"{folder}/domain.xml")

    def start(self) -> None:
        self.virsh("start", "lab")

    def virsh(self, *arguments: str) -> str:
        command = ["virsh", "-q", "-c", self.uri, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def write(self, number: int, offset: int, pattern: int, length: int) -> None:
        """Write what the guest would write, on its disk and into the oracle."""
        target = f"/machine/peripheral/virtio-disk{number}/virtio-backend"
        command = f'qemu-io -d {target} "write -P {pattern} {offset} {length}"'
        said = self.virsh("qemu-monitor-command", "lab", "--hmp", command)
        assert not said.strip(), said
        self.oracles[number].write(offset, pattern, length)

    def left_behind(self) -> list[str]:
        """Name what of ours is still there, but for checkpoints."""
        running = subprocess.run(
            ["virsh", "-q", "-c", self.uri, "backup-dumpxml", "lab"], capture_output=True, timeout=60
        )
        folders = [name for name in os.listdir(self.folder) if name.startswith(".sky-")]
        return folders + (["a backup job"] if running.returncode == 0 else [])

    def checkpoints(self) -> set[str]:
        return set(self.virsh("checkpoint-list", "lab", "--name").split())

    def kill_guest(self) -> None:
        """End the guest's process as a crash would."""
        with open(f"{self.folder}/run/libvirt/qemu/run/lab.pid") as said:
            os.kill(int(said.read()), 9)
        while self.virsh("domstate", "lab").strip() == "running":
            time.sleep(0.02)

    def close(self) -> None:
        subprocess.run(["virsh", "-q", "-c", self.uri, "destroy", "lab"], capture_output=True, timeout=60)
        self._daemon.terminate()
        self._daemon.wait(30)

    def _started(self) -> subprocess.Popen[bytes]:
        command = ["libvirtd"]
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            for path in (self.folder, f"{self.folder}/run", *self.images):
                os.chown(path, nobody.pw_uid, nobody.pw_gid)
            command = ["setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups", *command]
        environment = {"PATH": os.environ["PATH"], "HOME": f"{self.folder}/run"}
        environment |= {f"XDG_{name}": f"{self.folder}/run" for name in ("RUNTIME_DIR", "CONFIG_HOME", "CACHE_HOME")}
        with open(f"{self.folder}/libvirtd.said", "wb") as said:
            daemon = subprocess.Popen(tied([*command]), env=environment, stdout=said, stderr=said)
        while subprocess.run(["virsh", "-q", "-c", self.uri, "list"], capture_output=True, timeout=60).returncode:
            if daemon.poll() is not None:
                pytest.skip("libvirtd does not run here")
            time.sleep(0.02)
        return daemon
