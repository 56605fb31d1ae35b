"""The scan meets everything once, in order, and stays out of the kernel's own file systems."""

import os
import resource
import subprocess

import pytest

from shared.contracts.sources import FilesSource
from shared.errors import SkyharborError
from shared.model.backup import Notice
from shared.vault.entry import sort_key
from tests.support.trees import IS_ROOT, Node, nasty, plant
from workers.sources.files import FilesAdapter


def _scan(*paths):
    return list(FilesAdapter(FilesSource(paths=paths)).scan())


def _paths(found):
    return [path for item in found if not isinstance(item, Notice) for path in item.paths]


def test_the_order_is_that_of_a_point(tmp_path):
    found = _paths(_scan(plant(tmp_path / "tree", nasty())))
    assert found == sorted(found, key=sort_key)
    assert len(found) == len(set(found)) == len(nasty()) + 1 + str(tmp_path).count("/")


def test_very_deep_trees_do_not_use_up_descriptors(tmp_path):
    path = str(tmp_path)
    for _ in range(300):
        path += "/d"
        os.mkdir(path)
        open(f"{path}/z", "w").close()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 100, hard))
    try:
        found = _scan(str(tmp_path))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert [item for item in found if isinstance(item, Notice)] == []
    assert len(_paths(found)) == 600 + str(tmp_path).count("/")


def test_a_root_that_is_a_symlink_is_kept_as_one_and_said(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "file").touch()
    os.symlink("real", tmp_path / "alias")
    found = _scan(str(tmp_path / "alias"))
    assert [item.code for item in found if isinstance(item, Notice)] == ["root-is-symlink"]
    assert not any(b"file" in path for path in _paths(found))


def test_a_root_may_be_reached_through_a_symlink(tmp_path):
    (tmp_path / "real" / "sub").mkdir(parents=True)
    (tmp_path / "real" / "sub" / "file").touch()
    os.symlink("real", tmp_path / "alias")
    assert _paths(_scan(str(tmp_path / "alias" / "sub")))[-1].endswith(b"alias/sub/file")


@pytest.mark.parametrize("paths", [(), ("relative",), ("/tmp", "relative")])
def test_an_item_without_absolute_paths_is_refused(paths):
    with pytest.raises(SkyharborError) as caught:
        FilesAdapter(FilesSource(paths=paths))
    assert caught.value.code == "source-missing"


@pytest.mark.skipif(not IS_ROOT, reason="needs root to mount")
def test_a_pseudo_file_system_below_a_root_is_left_out_and_said(tmp_path):
    tree = plant(tmp_path / "tree", [Node(b"proc", "dir", mode=0o755), Node(b"x", data=b"1")])
    if subprocess.run(["mount", "-t", "proc", "proc", f"{tree}/proc"], check=False).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        found = _scan(tree)
    finally:
        subprocess.run(["umount", f"{tree}/proc"], check=True)
    assert [(item.path, item.code) for item in found if isinstance(item, Notice)] == [
        (f"{tree}/proc", "skipped-filesystem")
    ]
    assert [path.rpartition(b"/")[2] for path in _paths(found)[-2:]] == [b"proc", b"x"]
