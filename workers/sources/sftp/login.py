"""Who we are to an SSH server, and what is said when that does not help.

Rule of the file: values and words; nothing is dialled, and no optional library is needed.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from shared.errors import SkyharborError
from workers.sources.sftp.address import SftpAddress


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """Who we are, and by which file the server is known. ``key`` is the path of a private key."""

    user: str
    known_hosts: str
    password: str = field(default="", repr=False)
    key: str = ""
    passphrase: str = field(default="", repr=False)


def login_of(credentials: dict[str, str], address: SftpAddress, known_hosts: str) -> Login:
    """Return who to log in as. Raises ``source-denied`` when the credentials do not say."""
    user = address.user or credentials.get("user", "")
    password, key = credentials.get("password", ""), credentials.get("key", "")
    if not user or not (password or key):
        raise refused(
            address,
            "no user, or neither password nor key",
            "Name a credentials file with user=, and password= or key= (the path of a private key).",
        )
    return Login(
        user=user,
        password="" if key else password,
        key=key,
        passphrase=credentials.get("passphrase", ""),
        known_hosts=known_hosts or os.path.expanduser("~/.ssh/known_hosts"),
    )


def refused(address: SftpAddress, detail: str, hint: str) -> SkyharborError:
    """Return the error for what another try does not change: none is made, for some would lock the account."""
    return SkyharborError("source-denied", f"{address.text}: {detail}", hint=hint)
