"""What only the local store can get wrong: the file system under it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.errors import SkyharborError
from shared.storage.local import LocalStore
from shared.storage.local_files import rename_noreplace
from shared.storage.open import create_store, open_store
from shared.storage.probe import probe

NAME = "packs/d/ab/object"
NOBODY = 65534


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "store"


def code_of(store: LocalStore, name: str = NAME) -> str:
    with pytest.raises(SkyharborError) as caught:
        store.put(name, [b"x" * 100_000])
    return caught.value.code


def files_below(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir())


def test_opening_a_missing_folder_makes_nothing_and_reading_says_it_is_missing(root: Path) -> None:
    store = LocalStore(str(root))
    codes = []
    for call in (lambda: store.get(NAME), lambda: list(store.list()), lambda: store.put(NAME, [b"x"])):
        with pytest.raises(SkyharborError) as caught:
            call()
        codes.append(caught.value.code)
    assert codes == ["object-missing", "object-missing", "store-unreachable"]
    assert (store.size(NAME), store.delete(NAME), root.parent.exists()) == (None, False, False)


def test_creating_makes_the_folder_for_its_owner_only_and_can_be_repeated(root: Path) -> None:
    LocalStore.create(str(root)).put(NAME, [b"x"])
    again = LocalStore.create(str(root))
    assert (again.get(NAME), stat.S_IMODE(root.stat().st_mode)) == (b"x", 0o700)


@pytest.mark.parametrize("opener", [LocalStore, LocalStore.create])
def test_a_file_is_no_store_and_stays_as_it_is(root: Path, opener: type[LocalStore]) -> None:
    root.parent.mkdir()
    root.write_bytes(b"precious")
    with pytest.raises(SkyharborError) as caught:
        opener(str(root))
    assert (caught.value.code, root.read_bytes()) == ("store-not-a-folder", b"precious")


def test_objects_are_read_only_and_no_temporary_file_is_left(root: Path) -> None:
    LocalStore.create(str(root)).put(NAME, [b"x"])
    assert (files_below(root), stat.S_IMODE((root / NAME).stat().st_mode)) == ([NAME], 0o400)


def test_a_put_that_does_not_create_leaves_no_temporary_file(root: Path) -> None:
    store = LocalStore.create(str(root))
    assert [store.put(NAME, [b"x"]), store.put(NAME, [b"y"])] == [True, False]
    assert files_below(root) == [NAME]


class Watching(list[bytes]):
    """Parts that look, each time one is asked for, at how much has been written."""

    def __init__(self, root: Path, parts: list[bytes]) -> None:
        super().__init__(parts)
        self._root = root
        self.seen: list[int] = []

    def __iter__(self) -> Iterator[bytes]:
        for part in super().__iter__():
            self.seen.append(sum(path.stat().st_size for path in (self._root / "tmp").iterdir()))
            yield part


def test_a_part_is_asked_for_when_those_before_it_are_written(root: Path) -> None:
    parts = Watching(root, [b"x" * (1 << 20)] * 4 + [b"y"] * 3)
    LocalStore.create(str(root)).put(NAME, parts)
    assert parts.seen == [0, 1 << 20, 2 << 20, 3 << 20, *[4 << 20] * 3]
    assert (root / NAME).stat().st_size == (4 << 20) + 3


def test_temporary_files_are_never_listed_and_removed_after_a_day(root: Path) -> None:
    (root / "tmp").mkdir(parents=True)
    for name in ("old", "young"):
        (root / "tmp" / name).write_bytes(b"half")
    os.utime(root / "tmp" / "old", (1, 1))
    store = LocalStore(str(root))
    assert [info.name for info in store.list()] == []
    store.put(NAME, [b"x"])
    assert files_below(root) == [NAME, "tmp/young"]


def test_foreign_files_are_listed_so_that_no_vault_is_made_over_them(root: Path) -> None:
    root.mkdir(parents=True)
    (root / "My Documents").mkdir()
    (root / "My Documents" / "Letter.TXT").write_bytes(b"hello")
    assert [(info.name, info.size) for info in LocalStore(str(root)).list()] == [("My Documents/Letter.TXT", 5)]


def test_symbolic_links_are_neither_listed_nor_read_nor_written_through(root: Path, tmp_path: Path) -> None:
    store = LocalStore.create(str(root))
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "x").write_bytes(b"x")
    (root / "packs").mkdir()
    os.symlink(tmp_path / "secret", root / "packs" / "file")
    os.symlink(tmp_path / "outside", root / "points")
    assert list(store.list()) == list(store.list("points/")) == []
    assert (store.size("packs/file"), code_of(store, "packs/file")) == (None, "object-damaged")
    with pytest.raises(SkyharborError) as caught:
        store.get("packs/file")
    assert (caught.value.code, (tmp_path / "secret").read_bytes()) == ("object-missing", b"secret")


def test_a_store_that_lost_its_folder_does_not_make_a_new_one(root: Path) -> None:
    store = LocalStore.create(str(root))
    store.put(NAME, [b"x"])
    os.rename(root, root.with_name("unmounted"))
    root.mkdir()
    store.put("packs/d/ab/second", [b"y"])
    assert (files_below(root), len(files_below(root.with_name("unmounted")))) == ([], 2)


def test_a_file_in_the_place_of_a_folder_is_an_error_and_stays(root: Path) -> None:
    store = LocalStore.create(str(root))
    (root / "packs").write_bytes(b"precious")
    assert (code_of(store), (root / "packs").read_bytes()) == ("store-not-a-folder", b"precious")
    assert list(store.list("packs/")) == []


def test_without_hard_links_a_name_is_given_by_renaming_and_never_taken(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).write_text(name)
    root = os.open(tmp_path, os.O_RDONLY)
    try:
        given = [rename_noreplace(root, "one", "object"), rename_noreplace(root, "two", "object")]
        with pytest.raises(FileNotFoundError):
            rename_noreplace(root, "absent", "other")
    finally:
        os.close(root)
    assert (given, (tmp_path / "object").read_text(), (tmp_path / "two").exists()) == ([True, False], "one", True)


def _put_endlessly(root: str, ready: object) -> None:
    """Put until killed: one large object after the other, each of one repeated byte pair that says its number."""
    store = LocalStore(root)
    ready.set()  # type: ignore[attr-defined]
    for number in range(1_000_000):
        store.put(f"packs/d/00/{number}", [b"%02d" % (number % 100) * (1 << 20)] * 4)


@pytest.mark.parametrize("puts", [1, 2, 5])
def test_a_writer_killed_at_any_moment_leaves_whole_objects_only(root: Path, puts: int) -> None:
    LocalStore.create(str(root))
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    writer = context.Process(target=_put_endlessly, args=(str(root), ready))
    writer.start()
    assert ready.wait(60)
    # The signal to kill is the file system's: somewhere in the middle of the next temporary file.
    while writer.is_alive() and len(files_below(root)) < puts + 1:
        pass
    os.kill(writer.pid or 0, signal.SIGKILL)
    writer.join()
    store = LocalStore(str(root))
    for info in store.list():
        expected = b"%02d" % (int(info.name.rsplit("/", 1)[1]) % 100) * (4 << 20)
        assert store.get(info.name) == expected
    assert len(list(store.list())) >= 1


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "skyharbor-test", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a small file system needs the right to mount tmpfs")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_is_store_full_and_leaves_nothing_behind(small_disk: Path) -> None:
    store = LocalStore.create(str(small_disk / "store"))
    assert store.put("packs/d/00/fits", [b"x" * 1_000_000])
    with pytest.raises(SkyharborError) as caught:
        store.put("packs/d/00/big", [b"x" * 1_000_000] * 6)
    assert (caught.value.code, files_below(small_disk / "store")) == ("store-full", ["packs/d/00/fits"])
    assert store.put("packs/d/00/fits-too", [b"x" * 1_000_000])


def test_a_read_only_disk_is_store_denied_but_can_be_read(small_disk: Path) -> None:
    LocalStore.create(str(small_disk / "store")).put(NAME, [b"x"])
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    store = LocalStore(str(small_disk / "store"))
    assert (store.get(NAME), code_of(store, "packs/d/ab/other")) == (b"x", "store-denied")


_AS_NOBODY = """
import os, sys
from shared.errors import SkyharborError
from shared.storage.local import LocalStore
from shared.storage.local_files import rename_noreplace
if os.geteuid() == 0:
    os.setgroups([]); os.setgid({nobody}); os.setuid({nobody})
def said(call):
    try:
        return call()
    except SkyharborError as error:
        return error.code
store = LocalStore(sys.argv[1])
calls = [lambda: store.put("packs/d/ab/new", [b"x"]), lambda: store.get("{name}"), lambda: list(store.list())]
print(*map(said, calls))
"""


def test_what_the_user_may_not_touch_is_store_denied(tmp_path: Path) -> None:
    root = Path("/tmp") / f"skyharbor-test-{os.getpid()}"  # below pytest's own folder another user gets nowhere
    LocalStore.create(str(root)).put(NAME, [b"x"])
    os.chmod(root, 0o500 if os.geteuid() else 0o700)
    try:
        script = _AS_NOBODY.format(nobody=NOBODY, name=NAME)
        ran = subprocess.run([sys.executable, "-c", script, str(root)], capture_output=True, text=True, check=True)
        assert ran.stdout.split()[0] == "store-denied"
        assert os.geteuid() != 0 or ran.stdout.split() == ["store-denied"] * 3
    finally:
        os.chmod(root, 0o700)
        for path in sorted(root.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        root.rmdir()


@pytest.mark.parametrize(
    "url",
    ["", "/plain/path", "file://host/x", "file:relative", "file:///", "file:///a/..", "ftp://x/y", "s3://", "s3://b/a//c",
     "s3://b/../c", "s3://b/ü", "file:///x?y", "file:///x#y", "file:///x%00y", "http://[broken"],
)  # fmt: skip
def test_a_url_that_names_no_store_is_refused(url: str) -> None:
    with pytest.raises(SkyharborError) as caught:
        open_store(url)
    assert caught.value.code == "store-url-invalid"


def test_credentials_in_a_url_are_refused_and_not_repeated() -> None:
    with pytest.raises(SkyharborError) as caught:
        open_store("s3://key:hunter2@bucket/prefix")
    assert (caught.value.code, "hunter2" in str(caught.value)) == ("store-url-invalid", False)


def test_a_url_and_its_description_are_the_same_store(tmp_path: Path) -> None:
    folder = tmp_path / "with space & ümlaut"
    create_store(f"file://{tmp_path}/with%20space%20&%20%C3%BCmlaut").put(NAME, [b"x"])
    again = open_store(open_store(f"file://{folder}").describe())
    assert (again.get(NAME), folder.is_dir()) == (b"x", True)


def test_one_memory_url_is_one_store_in_the_process() -> None:
    open_store("memory://exam-shared").put(NAME, [b"x"])
    assert open_store("memory://exam-shared").get(NAME) == b"x"
    with pytest.raises(SkyharborError):
        open_store("memory://exam-other").get(NAME)


def test_a_store_is_probed_after_it_was_created(root: Path) -> None:
    store = create_store(f"file://{root}")
    probe(store)
    assert files_below(root) == []
