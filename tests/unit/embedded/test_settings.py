"""The environment is read once, checked, and secrets come from files."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.settings import Settings
from shared.errors import SkyharborError


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_every_usual_spelling_of_a_database_url_names_our_driver(scheme: str) -> None:
    settings = Settings.from_environment({"SKYHARBOR_DATABASE_URL": f"{scheme}://u@h/d"})

    assert settings.need_database() == "postgresql+psycopg://u@h/d"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SKYHARBOR_DATABASE_URL", "mysql://h/d"),
        ("SKYHARBOR_BROKER_URL", "nonsense://x"),
        ("SKYHARBOR_BROKER_URL", "localhost:6379"),
        ("SKYHARBOR_BIND", "8470"),
        ("SKYHARBOR_BIND", "0.0.0.0:99999"),
        ("SKYHARBOR_LISTEN_FD", "three"),
        ("SKYHARBOR_LOG_LEVEL", "chatty"),
        ("SKYHARBOR_TASK_EVENTS", "yes"),
        ("SKYHARBOR_AUDIT_SECONDS", "often"),
        ("SKYHARBOR_AUDIT_SECONDS", "0"),
        ("SKYHARBOR_AUDIT_SECONDS", "nan"),
        ("SKYHARBOR_DEADMAN_URL", "ping.example/abc"),
        ("SKYHARBOR_DEADMAN_URL", "file:///etc/passwd"),
    ],
)
def test_a_wrong_value_is_refused_by_the_name_of_its_variable(name: str, value: str) -> None:
    with pytest.raises(SkyharborError, match=name) as caught:
        Settings.from_environment({name: value})
    assert caught.value.code == "bad-request"


@pytest.mark.parametrize("scheme", ["redis", "rediss", "redis+socket", "amqp", "amqps"])
def test_every_broker_that_we_support_is_accepted(scheme: str) -> None:
    assert Settings.from_environment({"SKYHARBOR_BROKER_URL": f"{scheme}://h"}).need_broker() == f"{scheme}://h"


def test_a_refused_broker_url_does_not_tell_its_password() -> None:
    with pytest.raises(SkyharborError) as caught:
        Settings.from_environment({"SKYHARBOR_BROKER_URL": "nonsense://u:hunter2@h"})
    assert "hunter2" not in str(caught.value)


def test_tokens_are_found_in_the_home(tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "token").write_text("one\n")
    (tmp_path / "secrets" / "worker.token").write_text("two\n")

    assert Settings.from_environment({"SKYHARBOR_HOME": str(tmp_path)}).tokens() == ("one", "two")


def test_a_missing_token_file_is_told_by_its_path(tmp_path: Path) -> None:
    settings = Settings.from_environment({"SKYHARBOR_HOME": str(tmp_path)})

    with pytest.raises(SkyharborError, match=str(tmp_path)):
        settings.tokens()


def test_an_address_that_is_wrong_is_not_repeated() -> None:
    with pytest.raises(SkyharborError) as caught:
        Settings.from_environment({"SKYHARBOR_DEADMAN_URL": "ftp://hunter2@ping.example"})
    assert "hunter2" not in str(caught.value)


def test_addresses_of_alarms_stand_between_spaces() -> None:
    settings = Settings.from_environment({"SKYHARBOR_ALARM_URLS": " json://a/x,y  mailto://b\n"})
    assert settings.alarm_urls == ("json://a/x,y", "mailto://b")
