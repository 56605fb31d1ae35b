"""Which mounts a scan can meet, from a table of mounts."""

import os

import pytest

from workers.sources.journal.mount_table import _mount, layout_of

TABLE = """\
20 1 8:1 / / rw - ext4 /dev/sda1 rw
21 20 0:5 / /proc rw - proc proc rw
22 20 0:6 / /run rw - tmpfs tmpfs rw
23 22 0:7 / /run/user/1000 rw - tmpfs tmpfs rw
24 20 8:2 / /home rw,relatime shared:3 - xfs /dev/sda2 rw
25 24 8:1 /srv/data /home/me/my\\040data rw - ext4 /dev/sda1 rw
26 20 0:9 / /mnt/share rw - nfs4 server:/x rw
"""


def _layout(*roots):
    return layout_of(roots, [_mount(line) for line in TABLE.splitlines()])


def _paths(*roots):
    return [mount.path for mount in _layout(*roots).mounts]


def test_a_scan_of_everything_meets_all_but_what_is_below_pseudo_file_systems():
    assert _paths("/") == ["/", "/proc", "/run", "/home", "/home/me/my data", "/mnt/share"]


def test_a_path_meets_the_mount_that_it_is_on_and_those_below():
    assert _paths("/home/me") == ["/home", "/home/me/my data"]
    assert _paths("/etc") == ["/"]
    assert _paths("/run/user/1000/x") == ["/run/user/1000"]


def test_each_file_system_is_watched_once_where_most_of_it_shows():
    assert [(one.path, one.device) for one in _layout("/home", "/etc").places] == [
        ("/", os.makedev(8, 1)),
        ("/home", os.makedev(8, 2)),
    ]


def test_network_file_systems_are_not_trusted():
    layout = _layout("/mnt/share/folder")
    assert (layout.places, layout.trusted) == ((), ())


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("8:2 / /home", "8:3 / /home"),
        ("/srv/data", "/srv/other"),
        ("26 20 0:9 / /mnt/share rw - nfs4 server:/x rw\n", ""),
    ],
)
def test_another_table_is_another_layout(old, new):
    other = layout_of(["/"], [_mount(line) for line in TABLE.replace(old, new).splitlines()])
    assert other.digest != _layout("/").digest


def test_a_login_of_somebody_is_no_other_layout():
    other = layout_of(["/"], [_mount(line) for line in TABLE.splitlines() if "/run/user" not in line])
    assert other.digest == _layout("/").digest
