"""Sockets get a path that the kernel, libpq and a broker URL can take."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from orchestrator.embedded.sockets import give_back, socket_folder


@pytest.fixture
def long_run(tmp_path: Path) -> str:
    run = tmp_path / ("x" * 90)
    run.mkdir()
    return str(run)


def test_a_short_plain_path_is_used_itself(tmp_path: Path) -> None:
    assert socket_folder(str(tmp_path)) == str(tmp_path)


@pytest.mark.parametrize("name", ["with space", "with,comma", "per%cent", "x" * 90, "ünicode"])
def test_any_other_path_is_replaced_by_a_private_folder(tmp_path: Path, name: str) -> None:
    run = tmp_path / name
    run.mkdir()

    folder = socket_folder(str(run), runtime=str(tmp_path)[:59])

    assert folder != str(run)
    assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700
    os.rmdir(folder)


def test_the_same_home_gets_the_same_folder_again(long_run: str) -> None:
    first = socket_folder(long_run)
    assert socket_folder(long_run) == first
    os.rmdir(first)


def test_a_remembered_folder_that_was_opened_to_others_is_not_used_again(long_run: str) -> None:
    first = socket_folder(long_run)
    os.chmod(first, 0o777)  # noqa: S103 - that is the attack

    second = socket_folder(long_run)

    assert second != first
    os.rmdir(first)
    os.rmdir(second)


def test_a_folder_that_was_given_back_is_gone_and_the_next_call_finds_another(long_run: str) -> None:
    first = socket_folder(long_run)
    give_back(long_run)
    give_back(long_run)
    assert not os.path.exists(first)

    second = socket_folder(long_run)

    assert os.path.isdir(second)
    give_back(long_run)


def test_a_folder_that_is_still_in_use_is_not_given_back(long_run: str) -> None:
    folder = socket_folder(long_run)
    used = os.path.join(folder, "valkey.sock")
    os.close(os.open(used, os.O_CREAT))

    give_back(long_run)

    assert socket_folder(long_run) == folder
    os.unlink(used)
    give_back(long_run)


def test_giving_back_leaves_a_home_with_a_short_path_alone(tmp_path: Path) -> None:
    run = socket_folder(str(tmp_path))

    give_back(run)

    assert os.path.isdir(run)
