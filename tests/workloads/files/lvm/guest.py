"""A guest with Debian's kernel, Python, this checkout and LVM's programs; it runs ``inside`` and switches itself off.

Made without root from what this machine has; under TCG, because a machine that tests may have no KVM.
"""

from __future__ import annotations

import glob
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tests.support.debian_kernel import Kernel, unpacked_kernel
from workers.sources.children import tied
from workers.sources.settings import search_path

PROGRAMS = ("lvm", "mkfs.ext4", "mkfs.xfs", "mount", "umount")
"""What the guest has of this machine's."""
MAKERS = ("qemu-system-x86_64", "busybox", "cpio", "ldd", "mkfs.ext4")
CHECKOUT, SITE, PYTHON = "/checkout", "/site", "/python"

_MODULES = ("virtio_pci", "virtio_blk", "dm_mod", "dm_snapshot", "dm_thin_pool", "xfs", "crc32c_intel")
_LVM = ("lvs", "lvcreate", "lvremove", "lvchange", "vgcreate", "pvcreate")
_NOT_OF_PYTHON = ("test", "tests", "idlelib", "lib2to3", "ensurepip", "site-packages", "dist-packages", "config-*")
_COMPILED = "*.opt-?.pyc"

_CONFIGURATION = """
devices { obtain_device_list_from_udev=0 external_device_info_source="none" }
activation { udev_sync=0 udev_rules=0 monitoring=0 }
global { thin_check_executable="" event_activation=0 }
"""
_FIRST = """#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc; /bin/busybox mount -t devtmpfs dev /dev
for module in {modules}; do /bin/busybox insmod /modules/$module.ko; done
/bin/busybox mount -t ext4 /dev/vda /new && exec /bin/busybox switch_root /new /init
"""
_SECOND = f"""#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 PYTHONPATH={CHECKOUT}:{SITE}
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
mount -t tmpfs run /run; mount -t tmpfs tmp /tmp
cd {CHECKOUT}
exec > /dev/ttyS0 2>&1
{PYTHON}/bin/python -m tests.workloads.files.lvm.inside /dev/ttyS1 {{cases}}
poweroff -f
"""


class Kit:
    """What guests are made of, in a folder that stays for a whole run of tests."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._kernel = unpacked_kernel(folder, "*.ko")
        self._make_initrd(self._kernel)
        self._root = f"{folder}/root"
        self._fill()

    def run(self, cases: Sequence[str], *, patience: float) -> dict[str, Any]:
        """Boot a guest, have it run these cases, and return what it said of each, by name."""
        said, console = f"{self.folder}/said", f"{self.folder}/console"
        with open(f"{self._root}/init", "w") as made:
            made.write(_SECOND.format(cases=" ".join(cases)))
        os.chmod(f"{self._root}/init", 0o700)
        system = self._disk("system", 700, "-d", self._root, "-O", "^has_journal")
        command = ["qemu-system-x86_64", "-machine", "q35", "-accel", "tcg,thread=multi", "-smp", "2", "-cpu", "max"]
        command += ["-m", "1024", "-nodefaults", "-display", "none", "-no-reboot", "-kernel", self._kernel.image]
        command += ["-initrd", f"{self.folder}/initrd", "-append", "console=ttyS0 quiet panic=-1"]
        command += ["-serial", f"file:{console}", "-serial", f"file:{said}"]
        for disk in (system, self._empty("group", 1500), self._empty("other", 64)):
            command += ["-drive", f"file={disk},format=raw,if=virtio,cache=unsafe"]
        subprocess.run(tied(command), check=True, timeout=patience)
        with open(said, encoding="utf-8") as lines:
            told = {one["case"]: one for one in map(json.loads, lines)}
        with open(console, encoding="utf-8", errors="replace") as lines:
            assert list(told) == list(cases), lines.read()[-5000:]
        failed = "\n".join(f"{one['case']}: {one['failed']}" for one in told.values() if "failed" in one)
        assert not failed, failed
        return {case: one["told"] for case, one in told.items()}

    def _disk(self, name: str, size: int, *options: str) -> str:
        path = f"{self.folder}/{name}.raw"
        if os.path.exists(path):
            os.unlink(path)
        subprocess.run(
            ["mkfs.ext4", "-q", "-F", *options, path, f"{size}M"], check=True, capture_output=True, timeout=120
        )
        return path

    def _empty(self, name: str, size: int) -> str:
        path = f"{self.folder}/{name}.raw"
        with open(path, "wb") as made:
            made.truncate(size << 20)
        return path

    def _make_initrd(self, kernel: Kernel) -> None:
        root, modules = f"{self.folder}/first", kernel.with_needs(*_MODULES)
        _folders(root, ("bin", "proc", "dev", "new", "modules"))
        shutil.copy(_found("busybox"), f"{root}/bin/busybox")
        for name in modules:
            shutil.copy(kernel.modules[name], f"{root}/modules/{name}.ko")
        with open(f"{root}/init", "w") as made:
            made.write(_FIRST.format(modules=" ".join(modules)))
        os.chmod(f"{root}/init", 0o700)
        with open(f"{self.folder}/initrd", "wb") as packed:
            names = subprocess.run(["find", "."], cwd=root, check=True, capture_output=True, timeout=60).stdout
            pack = ["cpio", "-o", "-H", "newc", "--quiet"]
            subprocess.run(pack, cwd=root, input=names, stdout=packed, check=True, timeout=60)

    def _fill(self) -> None:
        """Put together the guest's own tree: programs of this machine, Python, the packages that the product loads."""
        root = self._root
        _folders(root, ("bin", "proc", "sys", "dev", "run", "tmp", "mnt", "root", "var", "usr/sbin", "etc/lvm"))
        shutil.copy(_found("busybox"), f"{root}/bin/busybox")
        for name in PROGRAMS:
            shutil.copy(_found(name), f"{root}/usr/sbin/{name}")
        for name in _LVM:
            os.symlink("lvm", f"{root}/usr/sbin/{name}")
        for name, content in (("lvm/lvm.conf", _CONFIGURATION), ("passwd", "root:x:0:0::/root:/bin/sh\n")):
            Path(f"{root}/etc/{name}").write_text(content)
        self._fill_python()
        for name in ("shared", "workers", "tests"):
            ignored = shutil.ignore_patterns(_COMPILED)
            shutil.copytree(_checkout() / name, f"{root}{CHECKOUT}/{name}", ignore=ignored)
        libraries = [f"{root}/usr/sbin/{name}" for name in PROGRAMS] + glob.glob(f"{root}{PYTHON}/bin/*")
        libraries += glob.glob(f"{root}/**/*.so", recursive=True)
        for path in _libraries(libraries):
            if not path.startswith(root) and not os.path.exists(f"{root}{path}"):
                os.makedirs(os.path.dirname(f"{root}{path}"), exist_ok=True)
                shutil.copy(path, f"{root}{path}")

    def _fill_python(self) -> None:
        library = Path(sysconfig.get_path("stdlib"))
        ignored = shutil.ignore_patterns(*_NOT_OF_PYTHON, _COMPILED)
        shutil.copytree(library, f"{self._root}{PYTHON}/lib/{library.name}", symlinks=True, ignore=ignored)
        os.makedirs(f"{self._root}{PYTHON}/bin")
        shutil.copy(os.path.realpath(sys.executable), f"{self._root}{PYTHON}/bin/python")
        os.makedirs(f"{self._root}{SITE}")
        packages = Path(sysconfig.get_path("platlib"))
        for name in _loaded(packages):
            if (packages / name).is_dir():
                ignored = shutil.ignore_patterns("tests", _COMPILED)
                shutil.copytree(packages / name, f"{self._root}{SITE}/{name}", ignore=ignored)
            else:
                shutil.copy(packages / name, f"{self._root}{SITE}/{name}")


def missing() -> list[str]:
    """Return the programs that a guest is made with or has, and that are not on this machine."""
    wanted = (*PROGRAMS, *MAKERS, "apt-get", "dpkg")
    return [name for name in wanted if shutil.which(name, path=search_path()) is None]


def _found(program: str) -> str:
    path = shutil.which(program, path=search_path())
    assert path is not None
    return os.path.realpath(path)


def _checkout() -> Path:
    return Path(__file__).parents[4]


def _folders(root: str, names: Iterable[str]) -> None:
    for name in names:
        os.makedirs(f"{root}/{name}")


def _loaded(packages: Path) -> list[str]:
    """Return what the product loads of a folder of packages, by the names there."""
    program = "import sys, tests.workloads.files.lvm.inside, workers.guard; print(*(m.__file__ for m in "
    program += "sys.modules.values() if getattr(m, '__file__', None)), sep='\\n')"
    command = [sys.executable, "-c", program]
    told = subprocess.run(command, cwd=_checkout(), check=True, capture_output=True, text=True, timeout=60).stdout
    below = [Path(line).relative_to(packages) for line in told.splitlines() if Path(line).is_relative_to(packages)]
    names = {path.parts[0] for path in below}
    return sorted(names | {f"{name}.libs" for name in names if (packages / f"{name}.libs").exists()})


def _libraries(paths: Sequence[str]) -> set[str]:
    told = subprocess.run(["ldd", *paths], capture_output=True, text=True, timeout=120).stdout
    return {path for line in told.splitlines() if line.startswith("\t") for path in re.findall(r"(/\S+)", line)}
