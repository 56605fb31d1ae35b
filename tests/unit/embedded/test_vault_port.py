"""The control plane makes a vault at an empty place, once, and never beside other things."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from orchestrator.vault_port import VaultsOnStorage
from shared.errors import SkyharborError


def refusal(url: str) -> str:
    with pytest.raises(SkyharborError) as caught:
        VaultsOnStorage().create(url, name="v")
    return caught.value.code


def test_a_new_vault_is_described_as_it_was_made(tmp_path: Path) -> None:
    url = f"file://{tmp_path}/vault"

    made = VaultsOnStorage().create(url, name="north")

    assert made == VaultsOnStorage().describe(url)
    assert (made.name, made.url) == ("north", url)


def test_a_place_with_a_vault_is_refused(tmp_path: Path) -> None:
    url = f"file://{tmp_path}/vault"
    VaultsOnStorage().create(url, name="north")

    assert refusal(url) == "vault-exists"


def test_a_place_with_other_things_is_refused_and_untouched(tmp_path: Path) -> None:
    (tmp_path / "thesis.odt").write_text("…")

    assert refusal(f"file://{tmp_path}") == "vault-not-empty"
    assert os.listdir(tmp_path) == ["thesis.odt"]


def test_an_empty_place_has_no_vault_to_describe(tmp_path: Path) -> None:
    with pytest.raises(SkyharborError) as caught:
        VaultsOnStorage().describe(f"file://{tmp_path}")
    assert caught.value.code == "vault-missing"
