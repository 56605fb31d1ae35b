"""Reads how a PostgreSQL server is reached: ``host=... port=...`` or ``postgresql://...``, as libpq takes it.

Rule of the file: text only; a value is never in a message, for it may be a password.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import parse_qsl, unquote, urlsplit

_PAIR = re.compile(r"\s*(\w+)\s*=\s*('(?:[^'\\]|\\.)*'|(?:[^'\s\\]|\\.)(?:[^\s\\]|\\.)*|$)", re.DOTALL)
_URL = re.compile(r"\w+://")

_SECRETS = frozenset({"password", "sslpassword", "oauth_client_secret", "scram_client_key", "scram_server_key"})
_PLAIN = """
application_name channel_binding client_encoding connect_timeout dbname fallback_application_name gssdelegation
gssencmode gsslib host hostaddr keepalives keepalives_count keepalives_idle keepalives_interval krbsrvname
load_balance_hosts max_protocol_version min_protocol_version oauth_client_id oauth_issuer oauth_scope options passfile
port require_auth requirepeer service ssl_max_protocol_version ssl_min_protocol_version sslcert sslcertmode
sslcompression sslcrl sslcrldir sslkey sslmode sslnegotiation sslrootcert sslsni target_session_attrs tcp_user_timeout
user
"""
_KNOWN = _SECRETS | frozenset(_PLAIN.split())
"""What libpq 18 knows, without what would make a connection another one than the worker asks for."""


def parameters(dsn: str) -> dict[str, str]:
    """Return the parameters of a DSN. ``ValueError`` says what is wrong with one that libpq would not take."""
    told: dict[str, str] = {}
    for name, value in _of_url(dsn) if _URL.match(dsn) else _of_pairs(dsn):
        key = name.lower() if is_secret(name.lower()) else name  # a password is one, however it is written
        if key not in _KNOWN:
            raise ValueError(f"there is no parameter {name!r}")
        told[key] = value
    if not told:
        raise ValueError("it names no server")
    _check_ports(told.get("port", ""))
    return told


def is_secret(name: str) -> bool:
    """Tell whether a parameter's value must not be kept."""
    return name in _SECRETS


def _of_pairs(dsn: str) -> Iterator[tuple[str, str]]:
    at = 0
    while at < len(dsn.rstrip()):
        pair = _PAIR.match(dsn, at)
        if pair is None:
            raise ValueError("it is made of NAME=VALUE, with spaces between them")
        value = pair[2].removeprefix("'").removesuffix("'") if pair[2].startswith("'") else pair[2]
        yield pair[1], re.sub(r"\\(.)", r"\1", value, flags=re.DOTALL)
        at = pair.end()


def _of_url(dsn: str) -> Iterator[tuple[str, str]]:
    if not dsn.startswith(("postgresql://", "postgres://")):
        raise ValueError("a URL of PostgreSQL begins with postgresql://")
    parts = urlsplit(dsn)  # ValueError for half an IPv6 address
    who, _, where = parts.netloc.rpartition("@")
    user, colon, password = who.partition(":")
    if user:
        yield "user", unquote(user)
    if colon and password:
        yield "password", ""
    for host in where.split(",") if where else ():  # libpq takes several, each with a port
        name, _, port = host.rpartition(":") if re.search(r":[^\]:]*$", host) else (host, "", "")
        if name:
            yield "host", unquote(name)
        if port:
            yield "port", port
    if parts.path not in ("", "/"):
        yield "dbname", unquote(parts.path[1:])
    yield from parse_qsl(parts.query, keep_blank_values=True)


def _check_ports(ports: str) -> None:
    for port in filter(None, ports.split(",")):
        if not port.isdecimal() or not 1 <= int(port) <= 65535:
            raise ValueError("a port is a number from 1 to 65535")
