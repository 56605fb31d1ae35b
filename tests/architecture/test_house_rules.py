"""Rules of the house that no linter knows."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.errors import REGISTRY, ErrorClass, ExitCode, SkyharborError

ROOT = Path(__file__).resolve().parents[2]
PRODUCT = [path for room in ("orchestrator", "workers", "shared") for path in sorted((ROOT / room).rglob("*.py"))]


def raised_codes() -> Iterator[tuple[str, str]]:
    """Every literal code given to ``SkyharborError`` in the product, with the place."""
    for path in PRODUCT:
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id == "SkyharborError"
                and node.args
                and isinstance(node.args[0], ast.Constant)
            ):
                yield str(node.args[0].value), f"{path.relative_to(ROOT)}:{node.lineno}"


def test_every_code_that_is_raised_is_registered() -> None:
    unknown = [(code, place) for code, place in raised_codes() if code not in REGISTRY]
    assert unknown == []


def test_an_unregistered_code_is_a_defect_at_once() -> None:
    with pytest.raises(KeyError):
        SkyharborError("no-such-code")


def test_every_hint_is_a_sentence_and_only_codes_of_many_reasons_have_none() -> None:
    bad = [kind.code for kind in REGISTRY.values() if not re.fullmatch(r"[A-Z].*\.|", kind.hint, re.DOTALL)]
    assert bad == []
    without = {kind.code for kind in REGISTRY.values() if not kind.hint}
    assert without == {"bad-request", "not-found", "conflict", "source-failed", "source-denied", "target-invalid"}


def test_what_somebody_must_change_first_is_never_retried() -> None:
    retried = {kind.error_class for kind in REGISTRY.values() if kind.retryable}
    assert retried == {ErrorClass.TRANSIENT, ErrorClass.SOURCE, ErrorClass.WORKER_LOST}


def test_exit_codes_are_those_of_the_documented_list() -> None:
    documented = {getattr(ExitCode, name) for name in vars(ExitCode) if name.isupper()}
    assert {kind.exit_code for kind in REGISTRY.values()} <= documented


def test_environment_variables_are_read_in_settings_only() -> None:
    allowed = {"settings.py", "binaries.py"}
    readers = [
        str(path.relative_to(ROOT))
        for path in PRODUCT
        if path.name not in allowed and re.search(r"\bos\.(environ\b|getenv)", path.read_text())
    ]
    assert readers == []


def test_the_wall_clock_is_asked_in_one_place() -> None:
    pattern = re.compile(r"\b(datetime\.now|datetime\.utcnow|time\.time)\(")
    allowed = {"shared/clock.py"}
    askers = [
        str(path.relative_to(ROOT))
        for path in PRODUCT
        if str(path.relative_to(ROOT)) not in allowed and pattern.search(path.read_text())
    ]
    assert askers == []


def test_no_lock_file_names_an_address() -> None:
    for lock in ("requirements.lock", "tools/uv.lock.txt"):
        assert "://" not in (ROOT / lock).read_text()
