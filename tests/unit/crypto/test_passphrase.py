"""Passphrases and their files."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.crypto.passphrase import check_passphrase, generate_passphrase, normalise, read_passphrase_file
from shared.errors import SkyharborError


@pytest.mark.parametrize(
    "passphrase", ["x" * 16, "correct horse battery staple", "ä" * 16, "65nx-trzv-cdxf-7qbf-f6cs-e7zd-mrpp"]
)
def test_sixteen_characters_are_enough(passphrase: str) -> None:
    check_passphrase(passphrase)


@pytest.mark.parametrize("passphrase", ["", "x" * 15, "a\u0308" * 15])
def test_fifteen_characters_are_too_short_however_they_are_spelt(passphrase: str) -> None:
    with pytest.raises(SkyharborError) as caught:
        check_passphrase(passphrase)
    assert caught.value.code == "passphrase-too-short"


def test_one_text_has_one_spelling() -> None:
    assert normalise("Fu\u0308rth") == normalise("F\u00fcrth")


@pytest.mark.parametrize(
    ("content", "passphrase"),
    [
        (b"correct horse", "correct horse"),
        (b"correct horse\n", "correct horse"),
        (b"correct horse\r\n", "correct horse"),
        (b"correct horse\n\n", "correct horse\n"),
        (b" spaces stay \n", " spaces stay "),
        (b"carriage return\r", "carriage return\r"),
        ("Grüße\n".encode(), "Grüße"),
        (b"", ""),
    ],
)
def test_exactly_one_line_end_of_a_file_is_dropped(tmp_path: Path, content: bytes, passphrase: str) -> None:
    (tmp_path / "file").write_bytes(content)
    assert read_passphrase_file(str(tmp_path / "file")) == passphrase


@pytest.mark.parametrize("content", [b"\xff\xfe broken", b"x" * (64 * 1024 + 1), None])
def test_a_file_that_holds_no_passphrase_is_a_bad_request(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "file").write_bytes(content)
    with pytest.raises(SkyharborError) as caught:
        read_passphrase_file(str(tmp_path / "file"))
    assert caught.value.code == "bad-request"


def test_generated_passphrases_differ_and_are_easy_to_write_down() -> None:
    made = {generate_passphrase() for _ in range(1000)}
    assert len(made) == 1000
    assert {(len(one), one.count("-")) for one in made} == {(34, 6)}
    assert set("".join(made)) == set("0123456789abcdefghjkmnpqrstvwxyz-")
