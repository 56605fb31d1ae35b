"""Secrets that come as files: read once, refused when given twice, and never lost on the way into a URL."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.secret_files import unfold
from shared.errors import SkyharborError


def written(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def test_a_named_file_stands_for_its_content(tmp_path: Path) -> None:
    file = written(tmp_path / "key", "s3cret\n")

    found = unfold({"AWS_SECRET_ACCESS_KEY_FILE": file, "OTHER_FILE": "/x"})

    assert found == {"AWS_SECRET_ACCESS_KEY": "s3cret", "OTHER_FILE": "/x"}


@pytest.mark.parametrize(
    ("url", "whole"),
    [
        ("postgresql://sky@db:5432/sky", "postgresql://sky:p%40ss%2F@db:5432/sky"),
        ("postgresql://sky@/sky?host=/run/pg", "postgresql://sky:p%40ss%2F@/sky?host=/run/pg"),
        ("postgresql://db/sky", "postgresql://:p%40ss%2F@db/sky"),
    ],
)
def test_a_password_is_put_into_its_url(url: str, whole: str, tmp_path: Path) -> None:
    file = written(tmp_path / "password", "p@ss/")

    found = unfold({"SKYHARBOR_DATABASE_URL": url, "SKYHARBOR_DATABASE_PASSWORD_FILE": file})

    assert found == {"SKYHARBOR_DATABASE_URL": whole}


def test_a_broker_without_a_user_takes_a_password_too() -> None:
    found = unfold({"SKYHARBOR_BROKER_URL": "redis://broker:6379/0", "SKYHARBOR_BROKER_PASSWORD": "pw"})

    assert found == {"SKYHARBOR_BROKER_URL": "redis://:pw@broker:6379/0"}


def test_doing_it_twice_changes_nothing(tmp_path: Path) -> None:
    file = written(tmp_path / "password", "pw")
    once = unfold({"SKYHARBOR_BROKER_URL": "redis://b/0", "SKYHARBOR_BROKER_PASSWORD_FILE": file})

    assert unfold(once) == once


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"AWS_ACCESS_KEY_ID": "a", "AWS_ACCESS_KEY_ID_FILE": "/x"}, "are both set"),
        ({"SKYHARBOR_DATABASE_URL_FILE": "/no/such/file"}, "No such file"),
        ({"SKYHARBOR_DATABASE_URL_FILE": "/dev/null"}, "is empty"),
        ({"SKYHARBOR_BROKER_PASSWORD": "pw"}, "needs SKYHARBOR_BROKER_URL"),
        ({"SKYHARBOR_BROKER_PASSWORD": "pw", "SKYHARBOR_BROKER_URL": "redis://:old@b/0"}, "has a password too"),
    ],
)
def test_what_is_ambiguous_or_unreadable_is_refused(environment: dict[str, str], said: str) -> None:
    with pytest.raises(SkyharborError, match=said) as error:
        unfold(environment)

    assert error.value.code == "bad-request"
    assert "pw" not in error.value.detail
