"""Directories with very many names come back, in bounded memory."""

import json
import os
import subprocess
import sys

import pytest

from tests.fidelity.trip import comes_back
from tests.support.compare import differences
from tests.support.trees import settle
from tests.unit.engine.rig import Rig


def _fill(root, count):
    """A directory with so many names of several kinds: mostly empty files, some with a few bytes."""
    os.mkdir(root)
    fd = os.open(root, os.O_RDONLY)
    try:
        for number in range(count):
            name = b"%x-%d" % (number * 2_654_435_761 % 2**32, number)
            if number % 100 == 0:
                os.symlink(b"%d" % number, name, dir_fd=fd)
            elif number % 1_000 == 1:
                os.mkdir(name, dir_fd=fd)
            else:
                file = os.open(name, os.O_CREAT | os.O_WRONLY, 0o600, dir_fd=fd)
                if number % 10 == 0:
                    os.write(file, b"%d" % number)
                os.close(file)
    finally:
        os.close(fd)


def test_a_directory_with_twenty_thousand_names_comes_back(tmp_path):
    _fill(f"{tmp_path}/tree", 20_000)
    assert comes_back(f"{tmp_path}/tree", tmp_path / "out") == []


def test_one_name_more_or_less_among_twenty_thousand_costs_a_page_and_not_all_of_them(tmp_path):
    tree = f"{tmp_path}/tree"
    _fill(tree, 20_000)
    settle(tree)
    rig = Rig()
    first = rig.backup(tree)
    os.unlink(f"{tree}/{sorted(os.listdir(tree))[10_000]}")
    with open(f"{tree}/80000000-new", "wb"):
        pass
    settle(tree)
    second = rig.backup(tree)
    rig.restore(tmp_path / "out")
    stats = second.stats
    assert (stats.files_new, stats.files_removed, stats.files_unchanged) == (1, 1, first.stats.files - 1)
    assert (stats.bytes_read, stats.bytes_transferred < first.stats.bytes_transferred / 5) == (0, True)
    assert differences(tree, f"{tmp_path}/out{tree}") == []


# ── a million ────────────────────────────────────────────────────────────────────────────────────────

_MEASURE = """
import json, resource, sys
from shared.storage.local import LocalStore
from tests.unit.engine.rig import Rig

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

act, vault, tree, out = sys.argv[1:]
rig = Rig(LocalStore(vault), made=act != "backup")
done = rig.restore(out) if act == "restore" else rig.backup(tree)
stats = done.stats
print(json.dumps([peak(), len(done.warnings), getattr(stats, "files", 0) or stats.files_restored]))
"""


def _measure(act, tmp_path, tree):
    """Run in a process of its own, whose peak of memory is that of the act."""
    command = [sys.executable, "-c", _MEASURE, act, f"{tmp_path}/vault", tree, f"{tmp_path}/out"]
    ended = subprocess.run(command, check=False, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


@pytest.mark.soak
@pytest.mark.timeout(3_600)
def test_memory_grows_by_less_than_400_bytes_for_each_of_a_million_names_in_one_directory(tmp_path):
    """Names are sorted, so those of one directory are in memory; of entries, only a few pages are."""
    peaks = {}
    for count in (10_000, 1_000_000):
        base = tmp_path / str(count)
        os.makedirs(base / "vault")
        tree = f"{base}/tree"
        _fill(tree, count)
        for act in ("backup", "again", "restore"):
            peaks[act, count], warnings, files = _measure(act, base, tree)
            assert (warnings, files) == (0, count - count // 1_000)
        assert differences(tree, f"{base}/out{tree}") == []
    growth = {act: (peaks[act, 1_000_000] - peaks[act, 10_000]) / 990_000 for act in ("backup", "again", "restore")}
    print({act: f"{each:.0f} bytes/entry" for act, each in growth.items()})  # noqa: T201
    assert (growth["backup"] < 400, growth["again"] < 400, growth["restore"] < 100) == (True, True, True), growth
