"""Programs that read disks by iSCSI: QEMU and the tools of libiscsi, which get the secret as people should give it.

Rule of the file: a secret goes in files and in the environment of the one program, never in arguments.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.workloads.serving.glass import WAIT, Serving, need, need_fuse, run

_TGTD = os.defpath + ":/usr/sbin:/sbin"


def need_iscsi(*programs: str) -> None:
    """Skip the test, with a reason, unless this machine can serve by iSCSI, and has these programs."""
    need_fuse()
    if shutil.which("tgtd", path=_TGTD) is None:
        pytest.skip("tgtd is not installed (package tgt)")
    need(*programs)
    if any(program.startswith("qemu") for program in programs) and not list(Path("/usr/lib").glob("*/qemu/*iscsi.so")):
        pytest.skip("QEMU's driver for iSCSI is not installed (package qemu-block-extra)")


def secret_of(serving: Serving) -> str:
    return Path(serving.document["secret_file"]).read_text()


def environment(serving: Serving, *, secret: str | None = None, user: str = "skyharbor") -> dict[str, str]:
    """Return what libiscsi takes the account from."""
    account = {"LIBISCSI_CHAP_USERNAME": user, "LIBISCSI_CHAP_PASSWORD": secret or secret_of(serving)}
    return {**os.environ, **account}


def tool(
    serving: Serving, name: str, *options: str, unit: int = 0, check: bool = True, **more: Any
) -> subprocess.CompletedProcess[str]:
    """Run a tool of libiscsi on one of the disks."""
    uri = serving.document["disks"][unit]["uri"]
    return run(name, *options, uri, check=check, env=environment(serving, **more))


def lists(serving: Serving, **more: Any) -> subprocess.CompletedProcess[str]:
    """Ask for the targets and their units."""
    portal = "iscsi://" + serving.uri.split("/")[2]
    return run("iscsi-ls", "-s", portal, check=False, env=environment(serving, **more))


def secret_object(file: str) -> tuple[str, str]:
    return "--object", f"secret,id=s,file={file}"


def image_options(serving: Serving, *, unit: int = 0, secret: bool = True) -> str:
    """Return how QEMU opens one of the disks, with the secret that is the object ``s``."""
    _, _, portal, target, lun = serving.document["disks"][unit]["uri"].split("/")
    account = ",user=skyharbor,password-secret=s" if secret else ""
    return f"driver=iscsi,transport=tcp,portal={portal},target={target},lun={lun}{account}"


def compared(serving: Serving, original: str, *, unit: int = 0) -> str:
    """Return what QEMU says of one of the disks beside a file."""
    file = secret_object(serving.document["secret_file"])
    beside = f"driver=file,filename={original}"
    return run("qemu-img", "compare", *file, "--image-opts", image_options(serving, unit=unit), beside).stdout


def raw(command: list[str], env: dict[str, str]) -> bytes:
    """Run a program and return its output as bytes."""
    return subprocess.run(command, capture_output=True, timeout=WAIT, check=True, env=env).stdout


@contextmanager
def reading(secret: tuple[str, str], how: str) -> Iterator[None]:
    """Have QEMU hold a disk open, once it has read of it, until the block ends."""
    process = subprocess.Popen(
        ["qemu-io", "-r", *secret, "--image-opts", how], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("read 0 4k\n")
        process.stdin.flush()
        assert "read 4096/4096" in process.stdout.readline()
        yield
    finally:
        process.kill()
        process.communicate()
