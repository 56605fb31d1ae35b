"""Exclude patterns mean what the guide says."""

import pytest

from shared.errors import SkyharborError
from tests.support.trees import Node, plant
from tests.unit.engine.rig import Rig
from workers.sources.excludes import Excludes


@pytest.mark.parametrize(
    ("pattern", "path", "covered"),
    [
        ("*.tmp", b"/home/a/x.tmp", True),
        ("*.tmp", b"/home/a.tmp/x", False),
        ("node_modules", b"/srv/app/node_modules", True),
        ("/home/*/.cache", b"/home/ann/.cache", True),
        ("/home/*/.cache", b"/home/ann/b/.cache", False),
        ("/home/**/.cache", b"/home/ann/b/.cache", True),
        ("/home/**/.cache", b"/home/.cache", True),
        ("/var/log/**", b"/var/log/a/b", True),
        ("/var/log/**", b"/var/log", False),
        ("target/debug", b"/src/x/target/debug", True),
        ("target/debug", b"/src/x/target/debug/more", False),
        ("file?", b"/file1", True),
        ("file?", b"/file", False),
        ("[ab]*", b"/bee", True),
        ("[!ab]*", b"/bee", False),
        ("[!ab]*", b"/cee", True),
        (r"\*", b"/*", True),
        (r"\*", b"/x", False),
        ("[", b"/[", True),
        ("caf\udce9", b"/caf\xe9", True),
        ("a.b", b"/axb", False),
        ("new\nline", b"/new\nline", True),
        ("*", b"/a\nb", True),
    ],
)
def test_a_pattern_covers(pattern, path, covered):
    assert Excludes([pattern]).cover(path, directory=False) is covered


def test_a_trailing_slash_means_directories_only():
    excludes = Excludes(["build/"])
    assert (excludes.cover(b"/x/build", directory=True), excludes.cover(b"/x/build", directory=False)) == (True, False)


@pytest.mark.parametrize("pattern", ["[z-a]", "/home/[9-0]/x"])
def test_an_invalid_pattern_is_the_requests_fault_and_named(pattern):
    with pytest.raises(SkyharborError) as caught:
        Excludes(["*.tmp", pattern])
    assert (caught.value.code, repr(pattern) in caught.value.detail) == ("bad-request", True)


def test_an_excluded_directory_takes_its_content_with_it_and_says_nothing(tmp_path):
    tree = plant(
        tmp_path / "tree",
        [Node(b"c", "dir", mode=0o755), Node(b"c/in", data=b"1"), Node(b"keep", data=b"2"), Node(b"x.tmp", data=b"3")],
    )
    rig = Rig()
    done = rig.backup(tree, excludes=[f"{tree}/c", "*.tmp"])
    names = [entry.path.rpartition(b"/")[2] for entry in rig.reader().entries()]
    assert (names[-2:], done.stats.files, done.warnings) == ([b"tree", b"keep"], 1, ())


@pytest.mark.parametrize(
    ("glob", "name", "covered"),
    [
        ("[a&&b]", b"/&", True),
        ("[a||b]", b"/|", True),
        ("[x~~]", b"/~", True),
        ("[+--]", b"/,", True),
        ("[+--]", b"/.", False),
        ("[?&&]", b"/a", False),
    ],
)
def test_doubled_signs_in_a_set_are_characters_and_no_operators(glob, name, covered):
    assert Excludes([glob]).cover(name, directory=False) is covered
