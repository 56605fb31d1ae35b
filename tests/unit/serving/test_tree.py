"""A point looked at folder by folder shows what is in it, with no more of it in memory than a few pages."""

from __future__ import annotations

import errno
import random
import stat
from collections.abc import Callable, Iterator

import msgspec
import pytest

from shared.vault.entry import Entry, EntryKind
from shared.vault.point import PageRef
from shared.vault.reader import PointReader
from tests.unit.serving.points import MTIME, Bench, File, Told, node
from workers.serving.folder import Folder
from workers.serving.page_shelf import PageShelf
from workers.serving.tree import Child, Tree

NAMES = [b"a", b"b", b"ab", b"a.b", b"a\x01", b"\xff", b"a-", b"A", b"a b", b"z\n"]


def random_tree(seed: int, *, implied: bool) -> dict[bytes, EntryKind]:
    """Paths and kinds: thousands of nodes in folders of very different sizes; some folders only implied."""
    rng = random.Random(seed)
    folders, kinds = [b""], {}
    for number in range(3000):
        above = rng.choice(folders[-12:])
        name = rng.choice(NAMES) if rng.random() < 0.3 else b"n%d" % number
        path = above + b"/" + name if above else name
        if path in kinds:
            continue
        is_folder = rng.random() < 0.1
        kinds[path] = EntryKind.DIRECTORY if is_folder else EntryKind.FILE
        if is_folder:
            folders.append(path)
    if implied:
        hidden = {path for path in folders if path and rng.random() < 0.5}
        full = {path.rpartition(b"/")[0] for path in kinds}
        kinds = {path: kind for path, kind in kinds.items() if path not in hidden or path not in full}
    return kinds


def children_by_folder(kinds: dict[bytes, EntryKind]) -> dict[bytes, set[tuple[bytes, bool]]]:
    """The oracle: for every folder its names, and whether each has an entry."""
    found: dict[bytes, set[tuple[bytes, bool]]] = {b"": set()}
    for path, kind in kinds.items():
        parts = path.split(b"/")
        for depth in range(len(parts)):
            above, own = b"/".join(parts[:depth]), b"/".join(parts[: depth + 1])
            found.setdefault(above, set()).add((parts[depth], own in kinds))
        if kind is EntryKind.DIRECTORY:
            found.setdefault(path, set())
    return found


@pytest.mark.parametrize("seed", range(6))
def test_every_folder_has_the_children_that_the_paths_say(seed: int) -> None:
    kinds = random_tree(seed, implied=seed % 2 == 1)
    tree = Tree(Bench().seal([node(path, kind) for path, kind in kinds.items()]))
    for folder, wanted in children_by_folder(kinds).items():
        listed = [child for child in tree.children(folder) if isinstance(child, Child)]
        assert len(listed) == len({child.name for child in listed})
        assert {(child.name, child.entry is not None) for child in listed} == wanted, folder
        assert tree.is_above(folder) == bool(wanted or not folder)
    for path in kinds:
        found = tree.find(path)
        assert found is not None
        assert found.path == path
    assert [tree.find(path + b"?") for path in kinds] == [None] * len(kinds)


def test_listing_a_folder_reads_no_page_that_has_only_what_is_deeper(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [node(b"a", EntryKind.DIRECTORY), node(b"b", EntryKind.DIRECTORY)]
    entries += [node(b"a/%05d" % number) for number in range(20_000)]
    reader = Bench().seal(entries)
    read: list[int] = []
    before = PageShelf._read
    monkeypatch.setattr(PageShelf, "_read", lambda self, number: read.append(number) or before(self, number))
    names = [child.name for child in Tree(reader).children(b"") if isinstance(child, Child)]
    assert names == [b"a", b"b"]
    assert len(reader.pages) > 30
    assert len(read) <= 3


def test_the_shelf_keeps_no_more_than_it_may() -> None:
    reader = Bench().seal([node(b"%05d" % number) for number in range(5000)])
    shelf = PageShelf(reader, keep=1)
    for number in range(len(reader.pages)):
        shelf.get(number)
    assert shelf.kept == 1


# ── as a file system ─────────────────────────────────────────────────────────────────────────────────


def folder_of(entries: list[Entry], files: dict[bytes, File] | None = None, told: Told | None = None) -> Folder:
    return Folder(Bench().seal(entries, files), (told or Told()).complaints())


def refusal(act: Callable[[], object]) -> int | None:
    """Return the number of the ``OSError`` that a call ends with, None when it ends well."""
    try:
        act()
    except OSError as error:
        return error.errno
    return None


def test_attributes_are_those_of_the_entry() -> None:
    folder = folder_of([node(b"d", EntryKind.DIRECTORY)], {b"d/f": File(b"x" * 1000, [], (600,))})
    file = folder.attributes(b"/d/f")
    assert file._replace(inode=0) == (
        stat.S_IFREG | 0o640, 0, 1, 12, 34, 1000, MTIME, MTIME + 1, 2, 0,
    )  # fmt: skip
    assert folder.attributes(b"/d").mode == stat.S_IFDIR | 0o2750
    assert folder.attributes(b"/").mode == stat.S_IFDIR | 0o755


def test_names_of_one_node_share_everything() -> None:
    told = Told()
    files = {b"first": File(b"content")}
    names = [node(b"m/second", link=b"first"), node(b"third", link=b"first"), node(b"other")]
    folder = folder_of([node(b"m", EntryKind.DIRECTORY), *names], files, told)
    first, second, third = (folder.attributes(path) for path in (b"/first", b"/m/second", b"/third"))
    assert first == second == third
    assert (first.links, first.size) == (3, 7)
    assert folder.attributes(b"/other").links == 1
    number = folder.open_file(b"/m/second")
    assert folder.read(number, 0, 100) == b"content"


def test_what_is_not_there_and_what_it_is_not_are_told_as_by_a_file_system() -> None:
    nodes = [node(b"d", EntryKind.DIRECTORY), node(b"l", EntryKind.SYMLINK, target=b"d/f")]
    folder = folder_of(nodes, {b"f": File(b"")})
    assert refusal(lambda: folder.attributes(b"/nothing")) == errno.ENOENT
    assert refusal(lambda: folder.open_file(b"/nothing")) == errno.ENOENT
    assert refusal(lambda: folder.open_file(b"/d")) == errno.EISDIR
    assert refusal(lambda: folder.open_file(b"/l")) == errno.EINVAL
    assert refusal(lambda: folder.link_target(b"/f")) == errno.EINVAL
    assert folder.link_target(b"/l") == b"d/f"


def test_seeking_finds_data_and_holes() -> None:
    folder = folder_of([], {b"f": File(b"a" * 10 + bytes(10) + b"b" * 10 + bytes(5), [(10, 10), (30, 5)])})
    number = folder.open_file(b"/f")
    found = [(folder.seek(number, at, 3), folder.seek(number, at, 4)) for at in (0, 5, 20)]
    assert found == [(0, 10), (5, 10), (20, 30)]
    assert folder.seek(number, 12, 3) == 20
    assert folder.seek(number, 12, 4) == 12
    assert [refusal(lambda at=at: folder.seek(number, at, 3)) for at in (31, 35, 99)] == [errno.ENXIO] * 3  # type: ignore[misc]
    assert [refusal(lambda at=at: folder.seek(number, at, 4)) for at in (35, 99, -1)] == [errno.ENXIO] * 3  # type: ignore[misc]


def taken(listing: Iterator[tuple[int, Child]], most: int) -> list[tuple[int, bytes]]:
    """Take so many names, and look at one more that does not fit any more."""
    names: list[tuple[int, bytes]] = []
    for number, child in listing:
        if len(names) == most:
            break
        names.append((number, child.name))
    return names


def test_a_listing_goes_on_where_it_was_and_back_to_where_it_is_told() -> None:
    folder = folder_of([node(b"%03d" % number) for number in range(300)])
    listing = folder.listing(folder.open_folder(b"/"))
    found, at = [], 0
    while names := taken(listing.after(at), 7):
        found += names
        at = names[-1][0]
    assert found == [(number + 1, b"%03d" % number) for number in range(300)]
    assert taken(listing.after(250), 2) == [(251, b"250"), (252, b"251")]
    assert taken(listing.after(3), 2) == [(4, b"003"), (5, b"004")]


def without_page(reader: PointReader, number: int) -> None:
    """Have one page of a point lost: its chunks have ids that nothing has."""
    page = reader.pages[number]
    pages = list(reader.pages)
    pages[number] = PageRef(page.first, b"\1" * len(page.chunks), page.entries)
    reader._manifest = msgspec.structs.replace(reader._manifest, pages=tuple(pages))


def test_a_lost_page_hides_its_own_names_only_and_the_list_ends_with_an_error() -> None:
    told = Told()
    reader = Bench().seal([node(b"%05d" % number) for number in range(3000)])
    names = {b"%05d" % number for number in range(3000)}
    lost = {name for name in names if reader.pages[2].first <= name < reader.pages[3].first}
    without_page(reader, 2)
    folder = Folder(reader, told.complaints())
    found: set[bytes] = set()
    listing = folder.listing(folder.open_folder(b"/"))
    assert refusal(lambda: found.update(child.name for _, child in listing.after(0))) == errno.EIO
    assert refusal(lambda: list(listing.after(len(found)))) == errno.EIO
    assert (len(lost) > 50, found) == (True, names - lost)
    assert refusal(lambda: folder.attributes(b"/" + min(lost))) == errno.EIO
    assert folder.attributes(b"/" + min(names)).links == 1
    assert [line for line in told.lines if "cannot be read as a whole" in line]


def test_damage_of_any_kind_is_an_input_output_error() -> None:
    bench = Bench()
    reader = bench.seal([node(b"l", link=b"gone")], {b"f": File(b"a" * 100, cuts=[50]), b"g": File(b"b" * 50)})
    for pack in reader.packs:
        if pack.name.startswith("packs/d/"):
            bench.store.delete(pack.name)
    told = Told()
    folder = Folder(bench.without_index().open(reader.point.point_id), told.complaints())
    number = folder.open_file(b"/g")
    assert refusal(lambda: folder.read(number, 0, 1)) == errno.EIO
    many = folder.open_file(b"/f")
    assert refusal(lambda: folder.read(many, 99, 1)) == errno.EIO
    for act in (folder.attributes, folder.open_file, folder.xattrs):
        assert refusal(lambda act=act: act(b"/l")) == errno.EIO  # type: ignore[misc]
    assert {line.split(": ")[1] for line in told.lines} == {"/f", "/g", "/l"}
