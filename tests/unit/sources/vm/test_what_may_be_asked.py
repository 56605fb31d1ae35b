"""Which descriptions of a virtual machine make sense, and how one is kept."""

import pytest

from orchestrator.domain.sources.checking import checked
from shared.contracts.sources import VmSource
from shared.errors import SkyharborError

NONSENSE = {
    "nothing": VmSource(),
    "two at once": VmSource(disks=("/a.raw",), qmp="/q"),
    "three at once": VmSource(disks=("/a.raw",), qmp="/q", libvirt="qemu:///system", domain="d"),
    "no absolute path": VmSource(disks=("a.raw",)),
    "no absolute socket": VmSource(qmp="q"),
    "an agent without a machine": VmSource(disks=("/a.raw",), agent="/a"),
    "an agent beside libvirt": VmSource(libvirt="qemu:///system", domain="d", agent="/a"),
    "scratch for images": VmSource(disks=("/a.raw",), scratch="/s"),
    "a connection without a domain": VmSource(libvirt="qemu:///system"),
    "a domain without a connection": VmSource(qmp="/q", domain="d"),
    "another host": VmSource(libvirt="qemu+ssh://host/system", domain="d"),
    "an option as a domain": VmSource(libvirt="qemu:///system", domain="--help"),
    "too many images": VmSource(disks=tuple(f"/{number}.raw" for number in range(65))),
}


@pytest.mark.parametrize("spec", NONSENSE.values(), ids=NONSENSE)
def test_nonsense_is_refused(spec):
    with pytest.raises(SkyharborError) as refused:
        checked(spec)
    assert refused.value.code == "bad-request"


@pytest.mark.parametrize(
    "spec",
    [
        VmSource(disks=("/a.raw", "/b.qcow2")),
        VmSource(qmp="/q", agent="/a", scratch="/s", freeze=False),
        VmSource(libvirt="qemu:///session?socket=/x", domain="d", scratch="/s"),
    ],
)
def test_what_makes_sense_is_kept_as_it_is(spec):
    assert checked(spec) == spec


def test_an_image_that_is_named_twice_is_kept_once():
    assert checked(VmSource(disks=("/a.raw", "/a.raw/"))) == VmSource(disks=("/a.raw",))
