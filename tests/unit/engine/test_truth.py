"""What cannot be read or changes under the reader is said, and the rest is there."""

import json
import os
import subprocess
import sys
import tempfile

import pytest

from shared.contracts.sources import FilesSource
from shared.errors import SkyharborError
from tests.support.trees import Node, nasty, plant
from tests.unit.engine.rig import Recorder, Rig
from workers.engine.backup import BackupOptions
from workers.engine.ports import Haste, Stop
from workers.engine.span import EVERYTHING
from workers.sources.files import FilesAdapter


class Meddling:
    """The files source, with somebody who does something right after a file was opened, or right before."""

    block = 0

    def __init__(self, path, *, before_open=None, after_open=None):
        self._inner = FilesAdapter(FilesSource(paths=(path,)))
        self._before, self._after = before_open, after_open

    def scan(self, span=EVERYTHING):
        return self._inner.scan(span)

    @property
    def excluded(self):
        return self._inner.excluded

    def complete(self, entry):
        return self._inner.complete(entry)

    def close(self):
        self._inner.close()

    def names_of_owners(self, uids, gids):
        return self._inner.names_of_owners(uids, gids)

    def read_whole(self, *_):
        return Haste.NO  # the careful way is what is tested here

    def open(self, entry):
        if self._before:
            self._before(entry)
        opened = self._inner.open(entry)
        return _Meddled(opened, self._after) if self._after else opened


class _Meddled:
    def __init__(self, inner, act):
        self._inner, self._act = inner, act

    def __getattr__(self, name):
        return getattr(self._inner, name)

    def read(self, size, offset):
        data = self._inner.read(size, offset)
        self._act(self._inner.entry)
        return data

    def read_into(self, buffer, offset):
        got = self._inner.read_into(buffer, offset)
        self._act(self._inner.entry)
        return got


def _append(path, data=b"+"):
    with open(path, "ab") as file:
        file.write(data)


@pytest.mark.parametrize("size", [10, 3_000_000])
def test_a_file_that_changes_once_while_read_is_read_again_without_a_word(tmp_path, size):
    tree = plant(tmp_path / "tree", [Node(b"log", data=b"x" * size)])
    acts = [lambda: _append(f"{tree}/log")]
    done = Rig().backup(tree, source=Meddling(tree, after_open=lambda _: acts and acts.pop()()))
    assert (done.warnings, done.point.bytes) == ((), size + 1)


@pytest.mark.parametrize("size", [10, 3_000_000])
def test_a_file_that_keeps_changing_is_kept_as_read_with_a_notice(tmp_path, size):
    tree = plant(tmp_path / "tree", [Node(b"log", data=b"x" * size), Node(b"other", data=b"o")])
    rig = Rig()
    changing = lambda entry: entry.path.endswith(b"log") and _append(f"{tree}/log")  # noqa: E731
    done = rig.backup(tree, source=Meddling(tree, after_open=changing))
    assert [(notice.path, notice.code) for notice in done.warnings] == [(f"{tree}/log", "changed-while-read")]
    assert rig.restore(tmp_path / "out").warnings == ()
    with open(f"{tmp_path}/out{tree}/log", "rb") as file:
        assert set(file.read().rstrip(b"+")) == {ord("x")}


def test_a_file_that_shrinks_while_read_is_kept_as_read(tmp_path):
    tree = plant(tmp_path / "tree", [Node(b"f", data=b"x" * 5_000_000)])
    rig = Rig()
    steps = iter(range(4_999_999, 0, -1))
    done = rig.backup(tree, source=Meddling(tree, after_open=lambda _: os.truncate(f"{tree}/f", next(steps))))
    assert [notice.code for notice in done.warnings] == ["changed-while-read"]
    assert rig.restore(tmp_path / "out").warnings == ()


def test_a_file_that_vanishes_before_it_is_opened_is_a_notice(tmp_path):
    tree = plant(tmp_path / "tree", [Node(b"gone", data=b"g"), Node(b"here", data=b"h")])
    rig = Rig()
    vanish = lambda entry: entry.path.endswith(b"gone") and os.unlink(f"{tree}/gone")  # noqa: E731
    done = rig.backup(tree, source=Meddling(tree, before_open=vanish))
    assert [(notice.path, notice.code) for notice in done.warnings] == [(f"{tree}/gone", "vanished")]
    rig.restore(tmp_path / "out")
    assert os.listdir(f"{tmp_path}/out{tree}") == ["here"]


def test_a_file_replaced_by_a_fifo_neither_hangs_nor_lies(tmp_path):
    tree = plant(tmp_path / "tree", [Node(b"f", data=b"g")])

    def swap(entry):
        os.unlink(f"{tree}/f")
        os.mkfifo(f"{tree}/f")

    done = Rig().backup(tree, source=Meddling(tree, before_open=swap))
    assert [notice.code for notice in done.warnings] == ["vanished"]


def test_a_folder_swapped_for_a_symlink_never_lets_another_file_into_the_point(tmp_path):
    secret = plant(tmp_path / "secret", [Node(b"f", data=b"top secret")])
    tree = plant(tmp_path / "tree", [Node(b"d", "dir", mode=0o755), Node(b"d/f", data=b"mine")])

    def swap(entry):
        os.rename(f"{tree}/d", f"{tree}/was-d")
        os.symlink(secret, f"{tree}/d")

    rig = Rig()
    done = rig.backup(tree, source=Meddling(tree, before_open=swap))
    assert [notice.code for notice in done.warnings] == ["vanished"]
    assert b"top secret" not in b"".join(
        bytes(c) for e in rig.reader().entries() for c in rig.reader().read_chunks(e.chunks)
    )


def test_a_file_replaced_by_another_one_is_taken_as_it_is_now(tmp_path):
    tree = plant(tmp_path / "tree", [Node(b"f", data=b"old")])

    def replace(entry):
        with open(f"{tree}/new", "wb") as file:
            file.write(b"brand new")
        os.rename(f"{tree}/new", f"{tree}/f")

    rig = Rig()
    assert rig.backup(tree, source=Meddling(tree, before_open=replace)).warnings == ()
    rig.restore(tmp_path / "out")
    with open(f"{tmp_path}/out{tree}/f", "rb") as file:
        assert file.read() == b"brand new"


def test_a_hard_link_whose_first_name_vanished_carries_the_content_itself(tmp_path):
    tree = plant(
        tmp_path / "tree", [Node(b"1", data=b"same"), Node(b"2", "link", target=b"1"), Node(b"3", "link", target=b"1")]
    )
    rig = Rig()
    vanish = lambda entry: entry.path.endswith(b"/1") and os.unlink(f"{tree}/1")  # noqa: E731
    rig.backup(tree, source=Meddling(tree, before_open=vanish))
    rig.restore(tmp_path / "out")
    out = f"{tmp_path}/out{tree}"
    assert (sorted(os.listdir(out)), os.path.samefile(f"{out}/2", f"{out}/3")) == (["2", "3"], True)
    with open(f"{out}/2", "rb") as file:
        assert file.read() == b"same"


def test_files_that_claim_no_size_are_read_to_their_end(tmp_path):
    rig = Rig()
    rig.backup("/proc/self/status")
    rig.restore(tmp_path / "out")
    with open(f"{tmp_path}/out/proc/self/status") as file:
        assert file.read().startswith("Name:")


def test_a_missing_path_is_source_missing_before_anything_is_written(tmp_path):
    rig = Rig()
    with pytest.raises(SkyharborError) as caught:
        rig.backup(str(tmp_path / "no-such-thing"))
    assert caught.value.code == "source-missing"
    assert [info.name for info in rig.store.list()] == ["vault.json"]


@pytest.mark.parametrize("after", [0, 1, 2, 3])
def test_a_stopped_backup_seals_nothing_and_says_why(tmp_path, after):
    tree = plant(tmp_path / "tree", nasty())
    rig = Rig()
    with pytest.raises(Stop) as caught:
        rig.backup(tree, control=Recorder(stop_after=after))
    assert (caught.value.reason, rig.points()) == (Recorder.reason, [])


def test_a_refused_commit_seals_nothing(tmp_path):
    tree = plant(tmp_path / "tree", nasty())
    rig = Rig()

    class Overtaken(Recorder):
        def commit(self):
            raise SkyharborError("stale-claim")

    with pytest.raises(SkyharborError) as caught:
        rig.backup(tree, control=Overtaken())
    assert (caught.value.code, rig.points()) == ("stale-claim", [])


def test_a_checkpointed_run_that_was_stopped_leaves_its_progress_to_the_next(tmp_path):
    tree = plant(tmp_path / "tree", [Node(b"%d" % n, data=os.urandom(1_500_000)) for n in range(4)])
    rig = Rig()

    class StopAtCommit(Recorder):
        def commit(self):
            raise Stop(Recorder.reason)

    with pytest.raises(Stop):
        rig.backup(tree, control=StopAtCommit(), options=BackupOptions(checkpoint_every=0.0))
    done = rig.backup(tree)
    assert done.stats.bytes_read == 6_000_000
    assert done.stats.bytes_transferred < 100_000


_UNPRIVILEGED = """
import json, os, sys
from shared.errors import SkyharborError
from tests.unit.engine.rig import Rig
if os.geteuid() == 0:  # not before the imports: the interpreter may live where only root can read
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
tree, out = sys.argv[1:3]
try:
    rig = Rig()
    done = rig.backup(tree)
    rig.restore(out)
    notices = sorted((notice.path, notice.code, notice.message) for notice in done.warnings)
    print(json.dumps([notices, sorted(os.listdir(out + tree))]))
except SkyharborError as error:
    print(json.dumps([error.code, error.detail]))
"""


@pytest.fixture
def open_folder():
    """A folder that ordinary users can reach, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)  # noqa: S103
        os.mkdir(f"{folder}/out", 0o777)
        os.chmod(f"{folder}/out", 0o777)  # noqa: S103
        yield folder


def _run_unprivileged(tree, out):
    program = [sys.executable, "-c", _UNPRIVILEGED, tree, out]
    return json.loads(subprocess.run(program, capture_output=True, text=True, check=True).stdout)


def test_unreadable_nodes_are_notices_with_the_systems_reason_and_the_rest_is_there(open_folder):
    tree = plant(
        f"{open_folder}/tree",
        [
            Node(b"closed", data=b"c", mode=0o000),
            Node(b"locked", "dir", mode=0o000),
            Node(b"open", data=b"o", mode=0o644),
        ],
    )
    notices, there = _run_unprivileged(tree, f"{open_folder}/out")
    assert notices == [
        [f"{tree}/closed", "unreadable", "Permission denied"],
        [f"{tree}/locked", "unreadable", "Permission denied"],
    ]
    assert there == ["locked", "open"]


def test_a_source_of_which_nothing_can_be_read_is_an_error(open_folder):
    tree = plant(f"{open_folder}/tree", [Node(b"x", data=b"o")])
    os.chmod(tree, 0)
    try:
        code, detail = _run_unprivileged(tree, f"{open_folder}/out")
    finally:
        os.chmod(tree, 0o755)  # noqa: S103
    assert (code, detail) == ("source-failed", f"{tree}: Permission denied")
