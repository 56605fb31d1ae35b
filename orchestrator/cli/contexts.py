"""Named contexts: servers that somebody talks to often, in a TOML file.

Rule of the file: the file is read, never written. A token stands in a file of its own, never in the configuration.

    default = "prod"
    [contexts.prod]
    server = "https://tower.example.org"
    token_file = "~/.config/skyharbor/prod.token"
"""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass

from shared.errors import SkyharborError


@dataclass(frozen=True, slots=True)
class Context:
    """One named server."""

    server: str
    token_file: str | None

    def token(self) -> str | None:
        """Return the token of the context's file, without surrounding white space; None when it names no file."""
        if self.token_file is None:
            return None
        try:
            with open(os.path.expanduser(self.token_file), encoding="utf-8") as file:
                return file.read().strip()
        except OSError as error:
            raise SkyharborError("unauthenticated", f"{self.token_file}: {error.strerror}") from error


def find_context(config_file: str, name: str | None) -> Context | None:
    """Return the context called ``name``, or the file's default one when ``name`` is None.

    None when no name was given and the file is absent or names no default. Raises ``not-found`` for an unknown name
    and ``bad-request`` for a file that cannot be understood.
    """
    document = _read(config_file)
    wanted = name if name is not None else document.get("default")
    if wanted is None:
        return None
    contexts = document.get("contexts")
    entry = contexts.get(wanted) if isinstance(contexts, dict) else None
    if not isinstance(entry, dict):
        raise SkyharborError("not-found", f"{config_file} has no context named {wanted!r}")
    server, token_file = entry.get("server"), entry.get("token_file")
    if not isinstance(server, str) or not isinstance(token_file, str | None):
        raise SkyharborError("bad-request", f"{config_file}: context {wanted!r} needs server, and token_file as text")
    return Context(server=server, token_file=token_file)


def _read(config_file: str) -> dict[str, object]:
    try:
        with open(config_file, "rb") as file:
            return tomllib.load(file)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise SkyharborError("bad-request", f"{config_file}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SkyharborError("bad-request", f"{config_file}: {error}") from error
