"""Who we are to an SMB server, and what is said when that does not help.

Rule of the file: values and words; nothing is dialled.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from shared.errors import SkyharborError
from workers.sources.smb.address import SmbAddress


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """Who we are to the server."""

    user: str
    password: str = field(repr=False)
    domain: str = ""


class Unreachable(Exception):
    """Nobody answers there now; the text says why. Another try may succeed."""


def login_of(credentials: dict[str, str], address: SmbAddress) -> Login:
    """Return who to log in as. Raises ``source-denied`` when the credentials do not say."""
    user, password = credentials.get("user", ""), credentials.get("password", "")
    if not user or not password:
        raise refused(
            address,
            "no user and password",
            "Name a credentials file with user= and password= (and domain=); guests are not trusted.",
        )
    return Login(user=user, password=password, domain=credentials.get("domain", ""))


def refused(address: SmbAddress, detail: str, hint: str) -> SkyharborError:
    """Return the error for what another try does not change: none is made, for some would lock the account."""
    return SkyharborError("source-denied", f"{address.text}: {detail}", hint=hint)
