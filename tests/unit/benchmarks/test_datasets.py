"""Data sets are what their names say, and the same for the same seed."""

import os
from pathlib import Path

import pytest

from tests.benchmarks.datasets import (
    MIB,
    Changed,
    Found,
    change_blocks,
    change_files,
    copy_small_files,
    make_disk_image,
    make_incompressible,
    make_many_files,
    make_sparse_file,
    measure_data,
)
from tests.support.compare import differences
from tests.support.trees import Node, plant

BLOCK = 64 << 10


@pytest.fixture
def source(tmp_path):
    nodes = [
        Node(b"d", "dir", mode=0o750),
        Node(b"d/link", "symlink", target=b"../0"),
        Node(b"to-d", "symlink", target=b"d"),
    ]
    nodes += [Node(b"%d" % number, data=b"file %d\n" % number * 500) for number in range(100)]
    nodes += [Node(b"d/large", data=os.urandom(3 * MIB)), Node(b"d/pipe", "fifo"), Node(b"a\nb \xff", data=b"odd name")]
    return plant(tmp_path / "source", nodes)


def _contents(tree):
    return {
        path: path.read_bytes() for path in sorted(Path(tree).rglob("*")) if path.is_file() and not path.is_symlink()
    }


def test_a_copy_has_the_files_links_and_attributes_of_the_source(source, tmp_path):
    (Path(source) / "d" / "pipe").unlink()
    copy_small_files([source], tmp_path / "copy", most=None, largest=None)
    ignored = () if os.geteuid() == 0 else ("owner",)
    assert differences(source, f"{tmp_path}/copy{source}", ignore=ignored) == []


def test_large_files_and_pipes_stay_behind(source, tmp_path):
    copy_small_files([source], tmp_path / "copy", most=None, largest=MIB)
    assert measure_data(tmp_path / "copy").files == 100 + 1 + 2
    assert not (tmp_path / f"copy{source}" / "d" / "large").exists()


def test_a_copy_ends_at_the_wanted_number_of_files(source, tmp_path):
    copy_small_files([source], tmp_path / "copy", most=17, largest=None)
    assert measure_data(tmp_path / "copy").files == 17


def test_several_trees_are_copied_side_by_side(tmp_path):
    trees = [plant(tmp_path / name, [Node(b"same name", data=name.encode())]) for name in ("one", "two")]
    copy_small_files(trees, tmp_path / "copy", most=None, largest=None)
    assert sorted(_contents(tmp_path / "copy").values()) == [b"one", b"two"]


def test_one_percent_changed_is_one_percent_in_all_four_ways(tmp_path):
    make_many_files(tmp_path / "tree", count=2000, seed=1)
    before = _contents(tmp_path / "tree")
    changed = change_files(tmp_path / "tree", share=0.01, seed=7)
    after = _contents(tmp_path / "tree")
    assert changed == Changed(rewritten=8, appended=6, removed=3, added=3)
    assert (len(before.keys() - after.keys()), len(after.keys() - before.keys())) == (3, 3)
    grown = [path for path in before.keys() & after.keys() if len(after[path]) > len(before[path])]
    assert len(grown) == 6


def test_a_rewritten_file_has_other_bytes_of_the_same_number(tmp_path):
    tree = Path(plant(tmp_path / "tree", [Node(b"%d" % number, data=b"abc" * 100) for number in range(10)]))
    change_files(tree, share=1.0, seed=7)
    rewritten = [data for data in _contents(tree).values() if len(data) == 300 and data != b"abc" * 100]
    assert len(rewritten) >= 4


def test_a_file_with_two_names_is_left_alone(tmp_path):
    tree = plant(tmp_path / "tree", [Node(b"a", data=b"a"), Node(b"b", "link", target=b"a"), Node(b"c", data=b"c")])
    for seed in range(10):
        change_files(Path(tree), share=0.01, seed=seed)
    assert ((Path(tree) / "a").read_bytes(), (Path(tree) / "a").stat().st_nlink) == (b"a", 2)


def test_a_disk_image_is_partly_full_with_real_content(source, tmp_path):
    make_disk_image(tmp_path / "image" / "disk", size=256 * MIB, sources=[source], seed=3)
    status = (tmp_path / "image" / "disk").stat()
    assert status.st_size == 256 * MIB
    assert 0.4 < status.st_blocks * 512 / status.st_size < 0.9
    assert b"file 42\n" * 400 in (tmp_path / "image" / "disk").read_bytes()


def test_the_same_seed_makes_the_same_image(source, tmp_path):
    for name in ("one", "two"):
        make_disk_image(tmp_path / name / "disk", size=20 * MIB, sources=[source], seed=3)
    assert (tmp_path / "one" / "disk").read_bytes() == (tmp_path / "two" / "disk").read_bytes()


def test_an_image_repeats_no_real_content_when_there_is_little_of_it(tmp_path):
    data = os.urandom(MIB)
    source = plant(tmp_path / "source", [Node(b"only", data=data)])
    make_disk_image(tmp_path / "image" / "disk", size=64 * MIB, sources=[source], seed=3)
    assert (tmp_path / "image" / "disk").read_bytes().count(data) == 1


def test_changed_blocks_are_whole_and_as_many_as_said(tmp_path):
    image = tmp_path / "disk"
    image.write_bytes(bytes(200 * BLOCK))
    count = change_blocks(image, share=0.01, seed=5)
    after = image.read_bytes()
    changed = [at for at in range(200) if after[at * BLOCK : (at + 1) * BLOCK].strip(b"\0")]
    assert (count, len(changed), len(after)) == (2, 2, 200 * BLOCK)


def test_incompressible_data_has_its_size_and_no_pattern(tmp_path):
    make_incompressible(tmp_path / "data", size=8 * MIB, seed=1)
    contents = list(_contents(tmp_path / "data").values())
    assert (sum(map(len, contents)), len(set(contents))) == (8 * MIB, 8)
    assert len(set(contents[0])) == 256


def test_a_huge_folder_has_so_many_files_and_half_of_them_empty(tmp_path):
    make_many_files(tmp_path / "many", count=1000, seed=1)
    sizes = [path.stat().st_size for path in (tmp_path / "many").iterdir()]
    assert (len(sizes), sizes.count(0)) == (1000, 500)


def test_a_sparse_file_has_its_size_and_only_its_data_on_disk(tmp_path):
    make_sparse_file(tmp_path / "s" / "file", size=1 << 30, data=10 * MIB, seed=1)
    assert ((tmp_path / "s" / "file").stat().st_size, measure_data(tmp_path / "s")) == (1 << 30, Found(1, 10 * MIB))
