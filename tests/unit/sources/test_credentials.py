"""A credentials file is the worker's own, and nothing of it is ever in a message."""

import pytest

from shared.errors import SkyharborError
from workers.sources.credentials import read_credentials


def _file(tmp_path, data, mode=0o600):
    path = tmp_path / "credentials"
    path.write_bytes(data)
    path.chmod(mode)
    return str(path)


def test_lines_are_keys_and_values(tmp_path):
    path = _file(tmp_path, b"# who\nuser = ann\n\npassword= with spaces = and signs \n")
    assert read_credentials(path) == {"user": "ann", "password": " with spaces = and signs "}


def test_no_path_says_nothing():
    assert read_credentials("") == {}


@pytest.mark.parametrize(
    ("data", "mode", "word"),
    [
        (b"user=a\n", 0o640, "open to other users"),
        (b"user=a\n", 0o604, "open to other users"),
        (b"hunter2\n", 0o600, "line 1"),
        (b"\xff\xfe", 0o600, "UTF-8"),
    ],
)
def test_what_cannot_be_trusted_or_read_is_said(tmp_path, data, mode, word):
    with pytest.raises(SkyharborError) as caught:
        read_credentials(_file(tmp_path, data, mode))
    assert (caught.value.code, word in caught.value.detail, "hunter2" in str(caught.value)) == (
        "source-denied",
        True,
        False,
    )


def test_a_file_that_is_not_there_and_one_that_is_none_are_said(tmp_path):
    for path in (tmp_path / "nothing", tmp_path):
        with pytest.raises(SkyharborError, match=str(path)):
            read_credentials(str(path))
