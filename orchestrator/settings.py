"""What the control plane's processes are told by their environment, read once.

Rule of the file: the only place of the control plane that looks at environment variables, but for those that the CLI
documents for itself. Secrets may come as names of files (``secret_files``).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from orchestrator.secret_files import unfold
from shared.errors import SkyharborError

_DRIVER = "postgresql+psycopg"
_LEAST_SECONDS, _MOST_SECONDS = 1.0, 31 * 86400.0
_BROKERS = ("redis", "rediss", "redis+socket", "amqp", "amqps")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One process's settings. ``environment`` is all of it, for handing on to children.

    ``listen_fd`` is an inherited listening socket and wins over ``bind``, an ``address:port``. ``ready_file`` is where
    the loops and the auditor say that they run, and by when each of their steps will have ended; a step of more than
    ``hang_seconds`` hangs. The URLs of alarms and of the dead-man ping are credentials; the
    seconds are those between two rounds of the auditor, of patience with an absence, and before an open alarm is told
    again. ``task_events``: Flower shall see every doorbell.
    """

    environment: Mapping[str, str]
    database_url: str | None
    broker_url: str | None
    postgres_programs: str | None
    runtime_folder: str | None
    home: str | None
    token_file: str | None
    worker_token_file: str | None
    listen_fd: int | None
    bind: tuple[str, int]
    ready_file: str | None
    log_file: str | None
    log_level: str
    hang_seconds: float = 60.0
    alarm_urls: tuple[str, ...] = ()
    dead_man_url: str | None = None
    audit_seconds: float = 60.0
    alarm_after_seconds: float = 60.0
    alarm_again_seconds: float = 86400.0
    task_events: bool = False

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """Read ``SKYHARBOR_*``; ``bad-request`` names the variable that is wrong."""
        env = unfold(os.environ if environ is None else environ)
        home = env.get("SKYHARBOR_HOME") or None
        return cls(
            environment=env,
            database_url=_database_url(env.get("SKYHARBOR_DATABASE_URL")),
            broker_url=_broker_url(env.get("SKYHARBOR_BROKER_URL")),
            postgres_programs=env.get("SKYHARBOR_PG_BIN") or None,
            runtime_folder=env.get("XDG_RUNTIME_DIR") or None,
            home=home,
            token_file=env.get("SKYHARBOR_TOKEN_FILE") or _in_home(home, "token"),
            worker_token_file=env.get("SKYHARBOR_WORKER_TOKEN_FILE") or _in_home(home, "worker.token"),
            listen_fd=_number(env, "SKYHARBOR_LISTEN_FD"),
            bind=_address(env.get("SKYHARBOR_BIND") or "127.0.0.1:8470"),
            ready_file=env.get("SKYHARBOR_READY_FILE") or None,
            log_file=env.get("SKYHARBOR_LOG_FILE") or None,
            log_level=_level(env.get("SKYHARBOR_LOG_LEVEL") or "info"),
            hang_seconds=_seconds(env, "SKYHARBOR_HANG_SECONDS", 60.0),
            alarm_urls=tuple(env.get("SKYHARBOR_ALARM_URLS", "").split()),
            dead_man_url=_web_url(env, "SKYHARBOR_DEADMAN_URL"),
            audit_seconds=_seconds(env, "SKYHARBOR_AUDIT_SECONDS", 60.0),
            alarm_after_seconds=_seconds(env, "SKYHARBOR_ALARM_AFTER_SECONDS", 60.0),
            alarm_again_seconds=_seconds(env, "SKYHARBOR_ALARM_AGAIN_SECONDS", 86400.0),
            task_events=_flag(env, "SKYHARBOR_TASK_EVENTS"),
        )

    def need_database(self) -> str:
        """Return the database's SQLAlchemy URL; ``bad-request`` when there is none."""
        return _needed(self.database_url, "SKYHARBOR_DATABASE_URL")

    def need_broker(self) -> str:
        """Return the broker's URL; ``bad-request`` when there is none."""
        return _needed(self.broker_url, "SKYHARBOR_BROKER_URL")

    def tokens(self) -> tuple[str, str]:
        """Return the operator's and the worker's token, read from their files."""
        return (
            _content(_needed(self.token_file, "SKYHARBOR_TOKEN_FILE"), "SKYHARBOR_TOKEN_FILE"),
            _content(_needed(self.worker_token_file, "SKYHARBOR_WORKER_TOKEN_FILE"), "SKYHARBOR_WORKER_TOKEN_FILE"),
        )


def _flag(env: Mapping[str, str], name: str) -> bool:
    text = env.get(name) or "0"
    if text not in ("0", "1"):
        raise SkyharborError("bad-request", f"{name} must be 0 or 1, not {text!r}")
    return text == "1"


def _database_url(text: str | None) -> str | None:
    """Accept what people write (``postgres://``) and name the driver that we use."""
    if not text:
        return None
    scheme, separator, rest = text.partition("://")
    if not separator or scheme not in ("postgres", "postgresql", _DRIVER):
        raise SkyharborError("bad-request", "SKYHARBOR_DATABASE_URL must begin with postgresql://")
    return f"{_DRIVER}://{rest}"


def _broker_url(text: str | None) -> str | None:
    if not text:
        return None
    scheme, separator, _ = text.partition("://")
    if not separator or scheme not in _BROKERS:
        raise SkyharborError(
            "bad-request", f"SKYHARBOR_BROKER_URL must begin with one of {', '.join(_BROKERS)}, and ://"
        )
    return text


def _in_home(home: str | None, name: str) -> str | None:
    return os.path.join(home, "secrets", name) if home else None


def _needed(value: str | None, name: str) -> str:
    if not value:
        raise SkyharborError(
            "bad-request", f"{name} is not set", hint="Set it in the environment; see 'skyharbor serve --help'."
        )
    return value


def _number(env: Mapping[str, str], name: str) -> int | None:
    text = env.get(name, "")
    if text and not text.isdigit():
        raise SkyharborError("bad-request", f"{name} must be a number, not {text!r}")
    return int(text) if text else None


def _seconds(env: Mapping[str, str], name: str, usual: float) -> float:
    text = env.get(name) or str(usual)
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not _LEAST_SECONDS <= seconds <= _MOST_SECONDS:
        raise SkyharborError("bad-request", f"{name} must be a number of seconds from 1 to {_MOST_SECONDS:.0f}")
    return seconds


def _web_url(env: Mapping[str, str], name: str) -> str | None:
    """Return a URL that is a credential: it is not repeated when it is wrong."""
    text = env.get(name) or None
    if text is None:
        return None
    try:
        parts = urlsplit(text)
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fits = False
    if not fits:
        raise SkyharborError("bad-request", f"{name} must be a URL that begins with http:// or https://")
    return text


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise SkyharborError("bad-request", f"SKYHARBOR_BIND must be address:port, not {text!r}")
    return host.strip("[]"), int(port)


def _level(text: str) -> str:
    if text.lower() not in ("debug", "info", "warning", "error"):
        raise SkyharborError("bad-request", f"SKYHARBOR_LOG_LEVEL must be debug, info, warning or error, not {text!r}")
    return text.lower()


def _content(path: str, name: str) -> str:
    try:
        with open(path, encoding="ascii") as handle:
            return handle.read().strip()
    except OSError as error:
        hint = "The file must be there, and this process's user must be able to read it."
        raise SkyharborError("bad-request", f"{name}: {error.strerror}: {path}", hint=hint) from error
