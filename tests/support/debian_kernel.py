"""Debian's kernel for guests, out of its package; nothing is installed.

Rule of the file: what cannot be had skips the test by name.
"""

from __future__ import annotations

import glob
import os
import re
import subprocess
from dataclasses import dataclass

import pytest

PROGRAMS = ("apt-get", "dpkg")


@dataclass(frozen=True, slots=True)
class Kernel:
    """``image`` is what boots; ``modules`` are paths of files, by the names that the kernel's own programs use."""

    image: str
    modules: dict[str, str]

    def with_needs(self, *names: str) -> list[str]:
        """Return these modules and all that they stand on, in an order in which they can be loaded.

        What is no module is taken for a part of the kernel itself.
        """
        found: list[str] = []
        for name in filter(self.modules.__contains__, names):
            with open(self.modules[name], "rb") as module:
                told = re.search(rb"\0depends=([^\0]*)\0", module.read())
            needs = [need.replace("-", "_") for need in told[1].decode().split(",") if need] if told else []
            found += [one for one in (*self.with_needs(*needs), name) if one not in found]
        return found


def unpacked_kernel(folder: str, *patterns: str) -> Kernel:
    """Unpack the kernel and what matches these patterns of ``tar`` of its modules into a folder."""
    told = subprocess.run(["apt-cache", "depends", "linux-image-cloud-amd64"], capture_output=True, text=True).stdout
    names = re.findall(r"Depends: (linux-image-\S+)", told)
    candidates = [f"{name}-unsigned" for name in names] + names
    for name in candidates:
        fetched = subprocess.run(["apt-get", "download", "-q", name], cwd=folder, capture_output=True, timeout=300)
        if fetched.returncode == 0:
            break
    packages = glob.glob(f"{folder}/linux-image-*.deb")
    if not packages:
        pytest.skip("the package linux-image-cloud-amd64 cannot be had")
    os.makedirs(f"{folder}/kernel")
    with subprocess.Popen(["dpkg", "--fsys-tarfile", packages[0]], stdout=subprocess.PIPE) as archive:
        extract = ["tar", "-x", "-C", f"{folder}/kernel", "--wildcards", "./boot/vmlinuz*", *patterns]
        subprocess.run(extract, stdin=archive.stdout, check=True, timeout=120)
    found = glob.glob(f"{folder}/kernel/lib/modules/*/kernel/**/*.ko", recursive=True)
    modules = {os.path.basename(path).removesuffix(".ko").replace("-", "_"): path for path in found}
    return Kernel(glob.glob(f"{folder}/kernel/boot/vmlinuz-*")[0], modules)
