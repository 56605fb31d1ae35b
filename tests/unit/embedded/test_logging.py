"""Log lines are JSON, complete, and hold no secrets, whoever wrote them."""

from __future__ import annotations

import json
import logging
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from shared.telemetry.logging import configure_logging


@pytest.fixture
def log_file(tmp_path: Path) -> Iterator[Path]:
    """Logging to a file, and as it was before afterwards."""
    root = logging.getLogger()
    level = root.level
    path = tmp_path / "x.log"
    configure_logging(log_file=str(path), process="test")
    yield path
    logging.captureWarnings(capture=False)
    for handler in list(root.handlers):
        if isinstance(handler, logging.StreamHandler) and getattr(handler.stream, "name", "") == str(path):
            root.removeHandler(handler)
            handler.stream.close()
    root.setLevel(level)
    structlog.reset_defaults()


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_line_has_event_level_time_and_process(log_file: Path) -> None:
    structlog.get_logger().info("thing-happened", job="j1")

    (line,) = lines(log_file)
    assert {name: line[name] for name in ("event", "level", "process", "job")} == {
        "event": "thing-happened",
        "level": "info",
        "process": "test",
        "job": "j1",
    }
    assert line["at"].endswith("Z")


@pytest.mark.parametrize(
    "fields",
    [
        {"token": "s3cret"},
        {"worker_token": "s3cret"},
        {"passphrase": "s3cret"},
        {"url": "postgresql+psycopg://skyharbor:s3cret@/postgres?host=/run"},
        {"headers": {"Authorization": "Bearer s3cret"}},
        {"header": "Bearer s3cret"},
        {"nested": [{"password": "s3cret"}]},
    ],
)
def test_a_secret_does_not_reach_the_file(log_file: Path, fields: dict[str, Any]) -> None:
    structlog.get_logger().warning("leak", **fields)

    assert lines(log_file)[0]["event"] == "leak"
    assert "s3cret" not in log_file.read_text()


def test_a_secret_in_a_traceback_does_not_reach_the_file(log_file: Path) -> None:
    try:
        raise ValueError("cannot open redis://user:s3cret@host/0")
    except ValueError:
        structlog.get_logger().exception("broken")

    assert "ValueError" in lines(log_file)[0]["exception"]
    assert "s3cret" not in log_file.read_text()


def test_a_library_speaks_the_same_format(log_file: Path) -> None:
    logging.getLogger("some.library").warning("cannot reach %s", "amqp://u:s3cret@h//")

    (line,) = lines(log_file)
    assert (line["logger"], line["level"], line["process"]) == ("some.library", "warning", "test")
    assert "s3cret" not in line["event"]


def test_ordinary_fields_are_kept_whole(log_file: Path) -> None:
    structlog.get_logger().info("counted", points=3, spinning=True, tokens_left=5, url="https://host/path")

    line = lines(log_file)[0]
    assert (line["points"], line["spinning"], line["tokens_left"], line["url"]) == (3, True, 5, "https://host/path")


def test_the_log_file_is_private(log_file: Path) -> None:
    assert stat.S_IMODE(log_file.stat().st_mode) == 0o600
