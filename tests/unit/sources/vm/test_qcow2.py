"""An image that we write is one that QEMU reads, with the very same bytes."""

import os
import random
import shutil
import subprocess

import pytest

from workers.sources.vm.qcow2 import CLUSTER, Qcow2Writer

pytestmark = pytest.mark.skipif(shutil.which("qemu-img") is None, reason="qemu-img missing: apt-get install qemu-utils")


def _both(folder, size, parts):
    """Write the parts, (offset, bytes), into a raw file and into an image; return their paths."""
    raw, image = f"{folder}/raw", f"{folder}/image.qcow2"
    with open(raw, "wb") as plain, open(image, "wb") as made:
        plain.truncate(size)
        writer = Qcow2Writer(made.fileno(), size)
        for offset, data in parts:
            os.pwrite(plain.fileno(), data, offset)
            writer.write(offset, memoryview(data))
        writer.finish()
    return raw, image


def _compare(raw, image):
    for command in (["check", "-q", "-f", "qcow2", image], ["compare", "-q", "-f", "raw", "-F", "qcow2", raw, image]):
        done = subprocess.run(["qemu-img", *command], capture_output=True, timeout=60, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("seed", range(20))
def test_whatever_is_written_in_order_is_what_qemu_reads(tmp_path, seed):
    rng = random.Random(seed)
    size = rng.randrange(1, 1 << 16) * 512 + rng.choice([0, 1 << 30, 5 << 30])
    parts, at = [], 0
    while at < size and len(parts) < 40:
        at += rng.choice([0, 1, 512, 4096, CLUSTER, rng.randrange(1 << 20), rng.randrange(size)])
        length = min(rng.choice([1, 512, CLUSTER, 4 * CLUSTER, rng.randrange(1, 1 << 20)]), size - at)
        if length > 0:
            parts.append((at, rng.choice([bytes(length), rng.randbytes(length)])))
            at += length
    _compare(*_both(tmp_path, size, parts))


def test_zeros_take_no_room(tmp_path):
    raw, image = _both(tmp_path, 64 << 20, [(0, bytes(32 << 20)), (32 << 20, b"x" * CLUSTER)])
    _compare(raw, image)
    assert os.path.getsize(image) <= 6 * CLUSTER


def test_an_empty_disk_is_an_image(tmp_path):
    _compare(*_both(tmp_path, 1 << 40, []))


def test_a_file_that_was_not_finished_is_no_image(tmp_path):
    with open(tmp_path / "half", "wb") as made:
        Qcow2Writer(made.fileno(), 1 << 20).write(0, memoryview(b"QFI\xfb" * CLUSTER))
    done = subprocess.run(["qemu-img", "info", "-f", "qcow2", str(tmp_path / "half")], capture_output=True, timeout=60)
    assert done.returncode != 0


def test_going_back_is_refused(tmp_path):
    with open(tmp_path / "image", "wb") as made:
        writer = Qcow2Writer(made.fileno(), 1 << 20)
        writer.write(4096, memoryview(b"x" * 512))
        with pytest.raises(ValueError, match="behind"):
            writer.write(4000, memoryview(b"x"))
