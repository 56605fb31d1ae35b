"""What the command line takes from the environment beyond its documented options.

Rule of the file: the only place of the package that reads environment variables (Typer reads those that it documents).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

import orchestrator
from orchestrator.secret_files import unfold


@dataclass(frozen=True, slots=True)
class CliSettings:
    """``debug`` shows tracebacks; ``config_file`` holds the named contexts; ``default_home`` is used without --home.

    ``token_file`` holds the operator's token for the server of --server or SKYHARBOR_SERVER.
    """

    debug: bool
    config_file: str
    default_home: str
    token_file: str | None = None


def program_environment(**own: str) -> dict[str, str]:
    """Return the environment for a program of ours: this process's, and this very code whatever folder we stand in.

    Secrets that are named as files are read now: the storage library knows only the variables themselves. It goes with
    the interpreter's ``-P``: a package named like ours in the current folder must never be run, least of
    all by root.
    """
    code = os.path.dirname(os.path.dirname(os.path.abspath(orchestrator.__file__)))
    return {**unfold(os.environ), "PYTHONPATH": code, **own}


def read_settings(environ: Mapping[str, str] | None = None) -> CliSettings:
    """Return the settings of this process; ``environ`` replaces the process environment."""
    env = os.environ if environ is None else environ
    config_home = env.get("XDG_CONFIG_HOME") or os.path.join(os.path.expanduser("~"), ".config")
    return CliSettings(
        debug=env.get("SKYHARBOR_DEBUG", "") not in ("", "0"),
        config_file=os.path.join(config_home, "skyharbor", "config.toml"),
        default_home="/var/lib/skyharbor" if os.geteuid() == 0 else os.path.join(os.path.expanduser("~"), ".skyharbor"),
        token_file=env.get("SKYHARBOR_TOKEN_FILE") or None,
    )
