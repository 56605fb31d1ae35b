"""Names are bytes: none is decoded, quoted or normalised on the way."""

import os

import pytest

from tests.fidelity.trip import comes_back
from tests.support.trees import Node, plant
from tests.unit.engine.rig import Rig

NAMES = {
    "not UTF-8": b"caf\xe9 \xff\xfe\x80",
    "newline": b"two\nlines",
    "tab": b"a\tb",
    "leading dash": b"-rf",
    "leading dashes": b"--no-preserve-root",
    "trailing space": b"name ",
    "only a space": b" ",
    "255 bytes": b"n" * 255,
    "255 bytes that are not UTF-8": b"\xc3" * 255,
    "control characters": bytes(range(1, 32)) + b"\x7f",
    "glob": b"*?[a-z]{x,y}",
    "backslash": b"a\\b\\n",
    "quotes": b"'\"`$(id)`",
    "dots": b"...",
    "leading dot": b".hidden",
    "colon, as Windows has it": b"C:",
    "sorts below a slash": b"a\x01b",
    "like a temporary name of ours": b".skyharbor-0123456789abcdef",
    "like a copy of ours": b"name.restored-1",
    "composed": "\u00e9".encode(),
    "decomposed": "e\u0301".encode(),
    "surrogate bytes": b"\xed\xa0\x80",
    "right to left": "\u05e9\u05dc\u05d5\u05dd\u202e".encode(),
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_a_name_comes_back_byte_for_byte_on_a_file_a_directory_and_a_symlink(tmp_path, name):
    nodes = [
        Node(name, "dir", mode=0o755),
        Node(name + b"/" + name, data=b"file"),
        Node(b"links", "dir", mode=0o755),
        Node(b"links/" + name, "symlink", target=name),
    ]
    assert comes_back(plant(tmp_path / "tree", nodes), tmp_path / "out") == []


def test_all_names_come_back_side_by_side_and_none_takes_anothers_place(tmp_path):
    nodes = [Node(name, data=b"%d" % number) for number, name in enumerate(sorted(set(NAMES.values())))]
    assert comes_back(plant(tmp_path / "tree", nodes), tmp_path / "out") == []


def test_every_byte_that_can_be_in_a_name_comes_back(tmp_path):
    single = [bytes([byte]) for byte in range(1, 256) if bytes([byte]) not in (b".", b"/")]
    tree = plant(tmp_path / "tree", [Node(name, data=name) for name in single])
    assert comes_back(tree, tmp_path / "out") == []


@pytest.mark.parametrize("name", [NAMES["not UTF-8"], NAMES["newline"], NAMES["glob"]], ids=ascii)
def test_a_part_is_asked_for_by_its_raw_name(tmp_path, name):
    tree = plant(tmp_path / "tree", [Node(name, data=b"wanted"), Node(b"other")])
    rig = Rig()
    rig.backup(tree)
    rig.restore(tmp_path / "out", f"{tree}/{os.fsdecode(name)}")
    assert os.listdir(os.fsencode(f"{tmp_path}/out{tree}")) == [name]


@pytest.mark.parametrize("length", [1, 59, 60, 61, 1_000, 4_094, 4_095])
def test_a_symlinks_target_comes_back_whatever_its_length_and_wherever_it_leads(tmp_path, length):
    targets = [b"x" * length, b"/" * length, (b"../\xff" * length)[:length], (b"a\n" * length)[:length]]
    nodes = [Node(b"%d" % number, "symlink", target=target) for number, target in enumerate(targets)]
    try:
        tree = plant(tmp_path / "tree", nodes)
    except OSError as error:
        pytest.skip(f"this file system has no targets of this length: {error.strerror}")
    assert comes_back(tree, tmp_path / "out") == []


def test_symlinks_in_a_circle_and_to_themselves_come_back(tmp_path):
    nodes = [Node(b"a", "symlink", target=b"b"), Node(b"b", "symlink", target=b"a")]
    nodes += [Node(b"self", "symlink", target=b"self"), Node(b"up", "symlink", target=b"..")]
    assert comes_back(plant(tmp_path / "tree", nodes), tmp_path / "out") == []
