"""Of which format an image is, is told by its first bytes; what it is called may not say otherwise."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from shared.errors import SkyharborError
from workers.sources.vm.image_formats import format_of


@pytest.mark.parametrize("suffix", [".qcow2", ".vmdk", ".vdi", ".vhd", ".vhdx", ".QCOW2"])
def test_a_broken_image_is_not_kept_as_if_it_were_a_raw_disk(tmp_path: Path, suffix: str) -> None:
    image = tmp_path / f"disk{suffix}"
    image.write_bytes(os.urandom(100_000))
    with pytest.raises(SkyharborError, match="does not begin like one"):
        format_of(str(image))


@pytest.mark.parametrize("name", ["disk.raw", "disk.img", "disk"])
def test_what_claims_nothing_is_raw(tmp_path: Path, name: str) -> None:
    image = tmp_path / name
    image.write_bytes(b"boot sector" * 1000)
    assert format_of(str(image)) == "raw"
