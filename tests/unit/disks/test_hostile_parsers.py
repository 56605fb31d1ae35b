"""Whatever the process that reads file systems says or does: an error about the disk, in time, and nothing else."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.errors import SkyharborError
from shared.model.backup import ConflictRule
from shared.vault.reader import PointReader
from tests.support.disk_points import point_of
from tests.support.uncontrolled import Uncontrolled
from tests.unit.engine.rig import Recorder
from workers.disks import browser as browsers
from workers.disks.browser import Browser, Found, Gap
from workers.disks.parser import Parser, Patience
from workers.disks.restoring import restore_out_of_disks
from workers.engine.ports import Stop

QUICK = Patience(silent=5.0, cpu=1.0, whole=120.0)
CHECKOUT = str(Path(__file__).resolve().parents[3])


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> PointReader:
    image = tmp_path_factory.mktemp("disk") / "i"
    image.write_bytes(os.urandom(1 << 20))
    return point_of({"disk0.raw": image})


@pytest.fixture
def browse(reader: PointReader, monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """Give a function that opens a browser whose process is of a mode."""
    opened: list[Browser] = []

    def open_(mode: str) -> Browser:
        program = f"import sys; sys.path.insert(0, {CHECKOUT!r}); import runpy; " + (
            "runpy.run_module('tests.support.hostile_parser', run_name='__main__', alter_sys=False)"
        )
        command = (sys.executable, "-c", program, mode)

        def parser(disks: object, **options: object) -> Parser:
            return Parser(disks, command=command, patience=QUICK, check=options["check"])  # type: ignore[arg-type]

        monkeypatch.setattr(browsers, "Parser", parser)
        opened.append(Browser(reader))
        return opened[-1]

    yield open_
    for one in opened:
        one.close()


def the_error(browser: Browser) -> str:
    with pytest.raises(SkyharborError) as caught:
        browser.inside(browser.find(b"disk0/p1")[-1], full=True)
    return f"{caught.value.code}: {caught.value.detail}"


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("silent", "nothing came for 5 s"),
        ("spinning", "5 s|computes for more than 1 s"),  # whichever limit a busy machine lets it reach first
        ("thinking", "computes for more than 1 s"),
        ("crash", "SIGSEGV"),
        ("exit", "exit code 3"),
        ("huge", "4294967295 bytes at once"),
        ("garbage", "makes no sense"),
        ("other", "answers something else"),
        ("trickle", "nothing came for 5 s"),
        ("greedy", "wants what cannot be"),
        ("backwards", "wants what cannot be"),
        ("size", "impossible values"),
        ("kind", "impossible values"),
        ("mode", "impossible values"),
        ("target", "a link to nowhere"),
        ("xattr", "extended attribute that cannot be"),
    ],
)
def test_misbehaviour_is_an_error_about_the_disk(browse: object, mode: str, words: str) -> None:
    told = the_error(browse(mode))  # type: ignore[operator]
    assert told.startswith("disk-unreadable: ")
    assert re.search(words, told)


def test_the_process_is_gone_when_it_has_failed(browse: object) -> None:
    browser = browse("thinking")  # type: ignore[operator]
    browser.areas  # noqa: B018
    process = browser._parser._process
    the_error(browser)
    assert (process.poll() is not None, browser._parser._process) == (True, None)


@pytest.mark.parametrize("mode", ["slash", "dots", "zero", "long"])
def test_names_that_lead_elsewhere_are_gaps(browse: object, mode: str) -> None:
    browser = browse(mode)  # type: ignore[operator]
    found = list(browser.walk(browser.find(b"disk0/p1")[-1], full=True))
    names = [one.entry.path for one in found if isinstance(one, Found)]
    gaps = [one for one in found if isinstance(one, Gap)]
    assert (names, len(gaps)) == ([b"disk0/p1"] + ([b"disk0/p1/good"] if mode == "dots" else []), 1)


def test_of_two_nodes_of_one_name_one_is_taken(browse: object) -> None:
    browser = browse("twice")  # type: ignore[operator]
    found = browser.inside(browser.find(b"disk0/p1")[-1], full=True)
    assert [type(one) for one in found] == [Found, Gap]


def test_a_directory_inside_of_itself_is_walked_once(browse: object) -> None:
    browser = browse("circle")  # type: ignore[operator]
    found = list(browser.walk(browser.find(b"disk0/p1")[-1], full=False))
    assert [type(one) for one in found] == [Found, Gap]


def test_directories_without_end_have_one(browse: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(browsers, "_DEEPEST", 50)
    browser = browse("deep")  # type: ignore[operator]
    found = list(browser.walk(browser.find(b"disk0/p1")[-1], full=False))
    assert (len(found), type(found[-1])) == (52, Gap)


def test_a_list_without_end_has_one(browse: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(browsers, "_MOST_NODES", 5000)
    assert "more nodes than can be" in the_error(browse("endless"))  # type: ignore[operator]


def test_areas_of_one_name_are_refused(browse: object) -> None:
    with pytest.raises(SkyharborError, match="two areas of one name"):
        browse("areas").areas  # type: ignore[operator]  # noqa: B018


@pytest.mark.parametrize("mode", ["outside", "no-disk", "too-much", "too-little", "negative", "read"])
def test_content_that_cannot_be_there_is_an_error(browse: object, mode: str) -> None:
    browser = browse(mode)  # type: ignore[operator]
    file = browser.find(b"disk0/p1/file")[-1]
    with pytest.raises(SkyharborError) as caught:
        list(browser.content(file))
    assert caught.value.code == "disk-unreadable"


@pytest.mark.parametrize(
    "mode", ["slash", "dots", "outside", "too-much", "too-little", "read", "crash", "where-outside", "where-short"]
)
def test_a_restore_writes_nothing_outside_and_no_part_of_a_file(
    browse: object, reader: PointReader, tmp_path: Path, mode: str
) -> None:
    browse(mode)  # type: ignore[operator]
    target = tmp_path / "in" / "target"
    path = "/disk0/p1/file" if mode in ("outside", "too-much", "too-little", "read") else "/disk0/p1"
    done = restore_out_of_disks(
        reader, target=str(target), paths=[path], conflict=ConflictRule.OVERWRITE, control=Uncontrolled()
    )
    there = sorted(str(one.relative_to(tmp_path)) for one in tmp_path.rglob("*") if not one.is_dir())
    assert (there, {notice.code for notice in done.warnings}) == ([], {"damaged"})


def test_a_stop_ends_the_waiting(browse: object, reader: PointReader) -> None:
    browser = browse("silent")  # type: ignore[operator]
    top = browser.find(b"disk0/p1")[-1]
    browser._parser._check = Recorder(stop_after=0).check
    with pytest.raises(Stop):
        browser.inside(top, full=False)
    assert browser._parser._process is None
