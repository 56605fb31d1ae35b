"""A home is made once, kept private, and never taken over or downgraded."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from orchestrator.embedded.home import find_home, make_home
from shared.errors import SkyharborError

NOW = datetime(2026, 11, 22, tzinfo=UTC)


def make(path: Path) -> str:
    return make_home(str(path), now=NOW, version="0.1.0").id


def refusal(path: Path) -> str:
    with pytest.raises(SkyharborError) as caught:
        make_home(str(path), now=NOW, version="0.1.0")
    return caught.value.code


def test_a_new_home_and_everything_in_it_is_private(tmp_path: Path) -> None:
    make(tmp_path / "home")

    open_to_others = [
        path
        for path in [tmp_path / "home", *(tmp_path / "home").rglob("*")]
        if stat.S_IMODE(path.stat().st_mode) & 0o077
    ]
    assert open_to_others == []


def test_making_a_home_again_keeps_its_id_and_its_secrets(tmp_path: Path) -> None:
    first = make(tmp_path)
    before = {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()}

    second = make(tmp_path)

    after = {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()}
    assert (second, after) == (first, before)
    assert set(after) == {"token", "worker.token"}
    assert len(set(after.values())) == 2


def test_a_secret_that_was_lost_is_made_again_and_the_other_one_kept(tmp_path: Path) -> None:
    make(tmp_path)
    kept = (tmp_path / "secrets" / "token").read_text()
    (tmp_path / "secrets" / "worker.token").unlink()

    make(tmp_path)

    assert (tmp_path / "secrets" / "token").read_text() == kept
    assert (tmp_path / "secrets" / "worker.token").read_text().strip()


def test_a_home_of_a_newer_format_is_refused_and_untouched(tmp_path: Path) -> None:
    make(tmp_path)
    facts = json.loads((tmp_path / "home.json").read_text())
    (tmp_path / "home.json").write_text(json.dumps({**facts, "format": 2, "unheard_of": True}))
    before = (tmp_path / "home.json").read_bytes()

    assert refusal(tmp_path) == "home-newer"
    assert (tmp_path / "home.json").read_bytes() == before


def test_a_folder_that_holds_other_things_is_not_turned_into_a_home(tmp_path: Path) -> None:
    (tmp_path / "thesis.odt").write_text("…")

    assert refusal(tmp_path) == "home-invalid"
    assert os.listdir(tmp_path) == ["thesis.odt"]


def test_a_keyring_put_there_before_the_first_start_is_taken_over(tmp_path: Path) -> None:
    (tmp_path / "keyring").mkdir()
    (tmp_path / "keyring" / "a-key").write_text("k")

    make(tmp_path)

    assert (tmp_path / "keyring" / "a-key").read_text() == "k"


def test_a_home_that_others_may_write_is_refused(tmp_path: Path) -> None:
    make(tmp_path)
    tmp_path.chmod(0o770)

    assert refusal(tmp_path) == "home-invalid"


def test_a_file_in_the_place_of_the_home_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    assert refusal(tmp_path / "file") == "home-invalid"


def test_a_home_file_that_is_not_json_is_refused(tmp_path: Path) -> None:
    make(tmp_path)
    (tmp_path / "home.json").write_text("{")

    assert refusal(tmp_path) == "home-invalid"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_even_root_refuses_the_home_of_another_user(tmp_path: Path) -> None:
    make(tmp_path)
    os.chown(tmp_path, 65534, 65534)

    assert refusal(tmp_path) == "home-foreign"


def test_looking_for_a_home_makes_nothing(tmp_path: Path) -> None:
    assert find_home(str(tmp_path / "none")) is None
    assert find_home(str(tmp_path)) is None
    assert os.listdir(tmp_path) == []


MAKE = """
import sys
from datetime import UTC, datetime
from orchestrator.embedded.home import make_home
print("ready", flush=True)
sys.stdin.readline()
home = make_home(sys.argv[1], now=datetime.now(UTC), version="0.1.0")
print(home.id, open(home.token).read().strip())
"""


def test_several_first_starts_at_once_agree_on_one_home_and_its_secrets(tmp_path: Path) -> None:
    command = [sys.executable, "-c", MAKE, str(tmp_path / "home")]
    makers = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(6)]
    for maker in makers:
        assert maker.stdout is not None
        assert maker.stdout.readline() == "ready\n"
    for maker in makers:
        assert maker.stdin is not None
        maker.stdin.write("go\n")
        maker.stdin.flush()

    answers = {maker.communicate()[0] for maker in makers}

    assert len(answers) == 1
    assert answers != {""}
