"""The exam of the storage port: every backend and every decorator passes all of it."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from shared.errors import SkyharborError
from shared.storage.object_store import ObjectInfo, ObjectStore
from shared.storage.probe import probe

PACK = "packs/d/0a/" + "ab" * 32


def test_what_was_put_in_parts_is_got_as_one(store: ObjectStore) -> None:
    parts = [b"head", b"", bytearray(b"-body-"), memoryview(b"xxtailxx")[2:6]]
    assert store.put(PACK, parts)
    assert store.get(PACK) == b"head-body-tail"


def test_an_object_of_32_mib_in_many_parts_comes_back_whole(store: ObjectStore) -> None:
    part = os.urandom(32 * 1024)
    assert store.put(PACK, [part] * 1024)
    assert store.get(PACK) == part * 1024


def test_an_empty_object_exists(store: ObjectStore) -> None:
    assert store.put("vault.json", [])
    assert (store.get("vault.json"), store.size("vault.json")) == (b"", 0)
    assert (store.get("vault.json", offset=0, length=0), store.get("vault.json", offset=3)) == (b"", b"")


@pytest.mark.parametrize(
    ("offset", "length", "expected"),
    [
        (0, None, b"0123456789"),
        (4, None, b"456789"),
        (2, 3, b"234"),
        (0, 10, b"0123456789"),
        (8, 5, b"89"),
        (10, 1, b""),
        (11, None, b""),
        (99, 3, b""),
        (3, 0, b""),
        (0, 1 << 40, b"0123456789"),
    ],
)
def test_a_range_is_cut_only_by_the_end(store: ObjectStore, offset: int, length: int | None, expected: bytes) -> None:
    store.put(PACK, [b"0123456789"])
    assert store.get(PACK, offset=offset, length=length) == expected


def test_a_range_below_zero_is_refused(store: ObjectStore) -> None:
    store.put(PACK, [b"0123456789"])
    for offset, length in ((-1, None), (0, -1)):
        with pytest.raises(SkyharborError) as caught:
            store.get(PACK, offset=offset, length=length)
        assert caught.value.code == "bad-request"


def test_a_missing_object_has_no_size_and_cannot_be_got(store: ObjectStore) -> None:
    store.put("packs/d/0a/other", [b"x"])
    assert store.size(PACK) is None
    for length in (None, 0, 5):
        with pytest.raises(SkyharborError) as caught:
            store.get(PACK, length=length)
        assert caught.value.code == "object-missing"


def test_a_folder_is_not_an_object(store: ObjectStore) -> None:
    store.put("packs/d/0a/other", [b"x"])
    assert store.size("packs/d") is None
    with pytest.raises(SkyharborError) as caught:
        store.get("packs/d")
    assert caught.value.code == "object-missing"


def test_a_second_put_of_a_name_changes_nothing_and_says_so(store: ObjectStore) -> None:
    assert store.put(PACK, [b"first"])
    assert not store.put(PACK, [b"second, longer"])
    assert store.get(PACK) == b"first"


def test_of_8_threads_that_put_one_name_exactly_one_created_it(store: ObjectStore) -> None:
    for turn in range(2):
        name = f"points/m/i/{turn}"
        barrier = threading.Barrier(8)

        def one(number: int, name: str = name, barrier: threading.Barrier = barrier) -> bool:
            barrier.wait()
            return store.put(name, [b"%d" % number * 5000])

        with ThreadPoolExecutor(8) as pool:
            created = list(pool.map(one, range(8)))
        assert created.count(True) == 1
        assert store.get(name) == b"%d" % created.index(True) * 5000


def test_threads_put_and_get_different_names_at_once(store: ObjectStore) -> None:
    def one(number: int) -> bool:
        name = f"packs/d/{number % 4:02x}/{number}"
        return store.put(name, [b"%d" % number]) and store.get(name) == b"%d" % number

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(one, range(64)))


def test_a_listing_is_complete_sorted_by_whole_name_and_has_sizes(store: ObjectStore) -> None:
    names = ["a/b", "a-b", "a.b", "a/a/c", "a0", "vault.json", "a-b.c", "b/1/2", "a/a-c"]
    for number, name in enumerate(names):
        store.put(name, [b"x" * number])
    expected = sorted((ObjectInfo(name, number) for number, name in enumerate(names)), key=lambda info: info.name)
    assert list(store.list()) == expected


def test_a_listing_of_a_folder_has_what_is_in_it_and_nothing_beside_it(store: ObjectStore) -> None:
    for name in ("packs/d/aa/1", "packs/d/ab/2", "packs/da/3", "packs/d.x", "index/m/4"):
        store.put(name, [b"x"])
    assert [info.name for info in store.list("packs/d/")] == ["packs/d/aa/1", "packs/d/ab/2"]
    assert [info.name for info in store.list("packs/m/")] == []


def test_a_listing_of_more_than_a_thousand_objects_is_complete(store: ObjectStore) -> None:
    names = sorted(f"points/m/i/{number:x}" for number in range(1, 2100))
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(lambda name: store.put(name, [b"x"]), names))
    assert [info.name for info in store.list("points/m/")] == names


def test_an_empty_store_lists_nothing(store: ObjectStore) -> None:
    assert list(store.list()) == []


def test_a_deleted_object_is_gone_and_its_name_free_again(store: ObjectStore) -> None:
    store.put(PACK, [b"first"])
    assert store.delete(PACK)
    assert (store.size(PACK), list(store.list())) == (None, [])
    assert store.put(PACK, [b"again"])
    assert store.get(PACK) == b"again"


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/abs",
        "a//b",
        "a/",
        "../up",
        "a/../b",
        "./a",
        "UPPER",
        "sp ace",
        "nul\0",
        "ü",
        "a\\b",
        "tmp/x",
        "a" * 256,
        "a\n",
    ],
)
def test_a_name_that_could_leave_or_confuse_the_store_is_refused(store: ObjectStore, name: str) -> None:
    for call in (lambda: store.put(name, [b"x"]), lambda: store.get(name), lambda: store.size(name)):
        with pytest.raises(SkyharborError) as caught:
            call()
        assert caught.value.code == "bad-request"


def test_a_prefix_that_is_not_a_folder_is_refused(store: ObjectStore) -> None:
    for prefix in ("pack", "../", "/", "a//"):
        with pytest.raises(SkyharborError) as caught:
            list(store.list(prefix))
        assert caught.value.code == "bad-request"


def test_the_probe_passes_and_leaves_nothing(store: ObjectStore) -> None:
    probe(store)
    assert list(store.list()) == []


def test_a_closed_store_can_be_closed_again(store: ObjectStore) -> None:
    store.put(PACK, [b"x"])
    store.close()
    store.close()
