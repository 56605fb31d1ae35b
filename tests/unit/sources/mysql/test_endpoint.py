"""Where a server is comes from the DSN; the password comes from the file, and goes to programs unseen and as it is."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from shared.contracts.sources import MysqlSource
from shared.errors import SkyharborError
from workers.sources.mysql.endpoint import Endpoint, endpoint_of


def credentials(folder: Path, text: str, *, mode: int = 0o600) -> str:
    path = folder / "credentials"
    path.write_text(text)
    path.chmod(mode)
    return str(path)


@pytest.mark.parametrize(
    ("dsn", "expected"),
    [
        ("mysql://me@db.example:3307", Endpoint("me", "", "db.example", 3307)),
        ("mysql://me@db.example", Endpoint("me", "", "db.example", 3306)),
        ("mariadb://me@db.example/", Endpoint("me", "", "db.example", 3306)),
        ("mysql://m%40e@[::1]:1", Endpoint("m@e", "", "::1", 1)),
        ("mysql://me@localhost?socket=/run/s.sock", Endpoint("me", "", "localhost", 3306, "/run/s.sock")),
    ],
)
def test_a_dsn_is_read(dsn: str, expected: Endpoint) -> None:
    assert endpoint_of(MysqlSource(dsn=dsn)) == expected


@pytest.mark.parametrize(
    "dsn",
    [
        "postgres://me@host",
        "mysql://host",
        "mysql://me:secret@host",
        "mysql://me@host:port",
        "mysql://me@host/database",
        "mysql://me@host?ssl=1",
        "mysql://me@localhost?socket=s.sock",
        "",
    ],
)
def test_what_is_no_dsn_is_refused_and_no_password_is_repeated(dsn: str) -> None:
    with pytest.raises(SkyharborError, match="the DSN cannot be used") as caught:
        endpoint_of(MysqlSource(dsn=dsn))
    assert caught.value.code == "bad-request"
    assert "secret" not in str(caught.value)


def test_the_file_has_the_last_word_on_the_user(tmp_path: Path) -> None:
    path = credentials(tmp_path, "# ours\n\nuser=other\npassword= a=b#c \n")
    assert endpoint_of(MysqlSource(dsn="mysql://me@h", credentials_file=path)) == Endpoint("other", " a=b#c ", "h")


@pytest.mark.parametrize(
    ("text", "mode", "what"),
    [
        ("password=x", 0o640, "open to other users"),
        ("passwort=x", 0o600, "line 1 .* says none of password, user"),
        ("password", 0o600, "line 1 .* is not key=value"),
    ],
)
def test_a_file_that_is_not_right_is_an_error_without_its_content(
    tmp_path: Path, text: str, mode: int, what: str
) -> None:
    path = credentials(tmp_path, text, mode=mode)
    with pytest.raises(SkyharborError, match=what) as caught:
        endpoint_of(MysqlSource(dsn="mysql://me@h", credentials_file=path))
    assert caught.value.code == "source-denied"


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SkyharborError, match="No such file"):
        endpoint_of(MysqlSource(dsn="mysql://me@h", credentials_file=str(tmp_path / "no")))


def test_an_endpoint_does_not_show_its_password() -> None:
    assert "secret" not in repr(Endpoint("me", "secret"))


PASSWORDS = [
    "simple",
    "p w#\"\\'$ö",
    "\\n\\\\t",
    '"quoted"',
    "'single'",
    " spaces ",
    "#no comment",
    "tab\tin",
    "%s!&;`",
]


@pytest.mark.skipif(shutil.which("my_print_defaults") is None, reason="needs my_print_defaults, of mariadb-client")
@pytest.mark.parametrize("password", PASSWORDS)
def test_programs_read_every_password_as_it_is(password: str) -> None:
    options = Endpoint("me", password, socket="/s").option_file()
    try:
        said = subprocess.run(
            [str(shutil.which("my_print_defaults")), *options.arguments, "client"],
            pass_fds=[options.fd],
            capture_output=True,
            check=True,
            timeout=30,
        )
    finally:
        options.close()
    assert said.stdout.decode().splitlines() == ["--user=me", f"--password={password}", "--socket=/s"]
    assert said.stderr == b""


def test_a_line_break_in_a_password_is_refused() -> None:
    before = set(os.listdir("/proc/self/fd"))
    with pytest.raises(SkyharborError, match="line break"):
        Endpoint("me", "a\nhost=evil").option_file()
    assert len(os.listdir("/proc/self/fd")) <= len(before)
