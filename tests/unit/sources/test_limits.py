"""What a point cannot hold, what must not be in it, and what this machine may run out of."""

import errno
import os
import resource
from contextlib import contextmanager

import pytest

from shared.contracts.sources import FilesSource
from shared.errors import SkyharborError
from shared.model.backup import Notice
from tests.support.trees import Node, plant
from tests.unit.engine.rig import Rig
from workers.engine.ports import Haste
from workers.engine.seen import entry_of
from workers.sources.files import FilesAdapter

FAR = 20_000_000_000  # seconds: the year 2603


@contextmanager
def _few_descriptors(more):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    first_free = os.open("/", os.O_RDONLY)
    os.close(first_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (first_free + more, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _notices(done):
    return [(notice.path, notice.code) for notice in done.warnings]


def test_a_file_from_the_far_future_does_not_stop_the_backup(tmp_path):
    nodes = [Node(b"d", "dir", mode=0o755), Node(b"d/far", data=b"f"), Node(b"now", data=b"n")]
    tree = plant(tmp_path / "tree", nodes)
    os.utime(f"{tree}/d/far", (FAR, FAR))
    if os.stat(f"{tree}/d/far").st_mtime_ns < 2**63:
        pytest.skip("this file system has no such times")
    rig = Rig()
    done = rig.backup(tree)
    assert _notices(done) == [(f"{tree}/d/far", "metadata-not-kept")]
    rig.restore(tmp_path / "out")
    with open(f"{tmp_path}/out{tree}/d/far", "rb") as file:
        assert file.read() == b"f"
    assert rig.backup(tree).stats.files_unchanged == 2


def test_running_out_of_descriptors_while_walking_fails_the_backup_instead_of_thinning_it(tmp_path):
    path = str(tmp_path)
    for _ in range(40):
        path += "/d"
        os.mkdir(path)
    adapter = FilesAdapter(FilesSource(paths=(str(tmp_path),)))
    with _few_descriptors(20), pytest.raises(SkyharborError) as caught:
        list(adapter.scan())
    assert (caught.value.code, caught.value.kind.retryable, "/d/d" in caught.value.detail) == (
        "source-failed",
        True,
        True,
    )


def test_running_out_of_descriptors_while_reading_fails_the_backup_instead_of_thinning_it(tmp_path):
    tree = plant(tmp_path / "tree", [Node(b"f", data=b"x"), Node(b"l", "symlink", target=b"f")])
    adapter = FilesAdapter(FilesSource(paths=(tree,)))
    (found,) = adapter.scan()
    entries = [entry_of(path, info) for path, info in zip(found.paths, found.stats, strict=True)][-2:]
    for act, entry in zip((adapter.open, adapter.complete), entries, strict=True):
        with pytest.raises(SkyharborError) as caught, _few_descriptors(0):
            act(entry)
        assert caught.value.code == "source-failed"


def test_a_read_for_which_there_is_no_memory_fails_the_backup(tmp_path):
    tree = plant(tmp_path / "tree", [Node(b"f", data=b"x")])

    class Starved(FilesAdapter):
        def read_whole(self, *_):
            return Haste.NO

        def open(self, entry):
            return _NoMemory(super().open(entry))

    with pytest.raises(SkyharborError) as caught:
        Rig().backup(tree, source=Starved(FilesSource(paths=(tree,))))
    assert caught.value.code == "source-failed"


class _NoMemory:
    def __init__(self, inner):
        self._inner = inner

    def __getattr__(self, name):
        return getattr(self._inner, name)

    def read(self, *_):
        raise OSError(errno.ENOMEM, "no memory")


# ── the vault inside of what it protects ─────────────────────────────────────────────────────────────


@pytest.mark.parametrize("by", ["path", "symlink"])
def test_a_vault_inside_of_the_protected_path_is_left_out_and_said(tmp_path, by):
    nodes = [Node(b"f", data=b"x"), Node(b"vault", "dir", mode=0o755), Node(b"vault/pack", data=b"p")]
    tree = plant(tmp_path / "tree", nodes)
    os.symlink(tree, tmp_path / "alias")
    place = f"{tree}/vault" if by == "path" else f"{tmp_path}/alias/vault"
    rig = Rig()
    done = rig.backup(tree, source=FilesAdapter(FilesSource(paths=(tree,)), leave_out=[place, "/no/such/vault"]))
    assert (_notices(done), done.stats.files) == ([(f"{tree}/vault", "skipped-vault")], 1)


@pytest.mark.parametrize("root", ["vault", "vault/packs"])
def test_a_protected_path_inside_of_the_vault_is_not_entered(tmp_path, root):
    tree = plant(tmp_path / "tree", [Node(b"vault", "dir"), Node(b"vault/packs", "dir"), Node(b"vault/packs/p")])
    adapter = FilesAdapter(FilesSource(paths=(f"{tree}/{root}",)), leave_out=(f"{tree}/vault",))
    found = list(adapter.scan())
    assert [item.code for item in found if isinstance(item, Notice)] == ["skipped-vault"]
    assert not any(path.endswith(b"/p") for item in found if not isinstance(item, Notice) for path in item.paths)


# ── attributes that no point holds ───────────────────────────────────────────────────────────────────


# ── given paths below each other ─────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("above", ["tree", "tree/alias"])
def test_a_given_path_behind_a_symlink_of_another_one_is_protected_where_it_really_is(tmp_path, above):
    far = plant(tmp_path / "far", [Node(b"sub", "dir", mode=0o755), Node(b"sub/f", data=b"far away")])
    tree = plant(tmp_path / "tree", [Node(b"alias", "symlink", target=os.fsencode(far)), Node(b"zz", data=b"z")])
    rig = Rig()
    done = rig.backup(f"{tmp_path}/{above}", f"{tree}/alias/sub")
    assert (f"{tree}/alias/sub", "behind-symlink") in _notices(done)
    rig.restore(tmp_path / "out")
    with open(f"{tmp_path}/out{tree}/alias/sub/f", "rb") as file:  # the symlink leads to the source itself
        assert file.read() == b"far away"
    with open(f"{tmp_path}/out{far}/sub/f", "rb") as file:
        assert file.read() == b"far away"


def test_a_given_path_below_another_one_without_a_symlink_between_belongs_to_it(tmp_path):
    tree = plant(tmp_path / "tree", [Node(b"d", "dir", mode=0o755), Node(b"d/l", "symlink", target=b"x")])
    done = Rig().backup(tree, f"{tree}/d/l", f"{tree}/d", f"{tree}/d/not-there-now")
    assert (done.warnings, done.stats.files) == ((), 1)
