"""doctor: look at everything that has to be right on this machine, and say what to do about what is not.

Rule of the file: a check is a function that returns one finding; it never raises and changes nothing. What first
backups will add is ``forecast``'s.
"""

from __future__ import annotations

import os
import stat
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
import typer

from orchestrator.cli import formats
from orchestrator.cli.findings import Finding, room_under
from orchestrator.cli.forecast import Forecast
from orchestrator.cli.restorable import at_risk, slots
from orchestrator.cli.session import Session
from shared.errors import ExitCode, SkyharborError

_PYTHON = (3, 11, 4)
_LEAST_FREE = 1 << 30
"""Bytes that the control database and the worker's cache should have left; below, PostgreSQL is the first to suffer."""

_CLOCK_TOLERANCE = 2.0
"""Seconds; the same by which the tower warns a worker."""

_PARTS = ("celery", "cryptography", "zstandard", "pyfastcdc", "blake3", "msgspec", "numpy", "httpx")
_TOWER_PARTS = ("sqlalchemy", "psycopg", "alembic", "fastapi", "uvicorn", "cronsim", "yaml")


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command("doctor")(doctor)


def doctor(
    ctx: typer.Context,
    path: Annotated[
        list[str] | None,
        typer.Option(metavar="DIR", help="Look at these paths instead of the items without a point; may be repeated."),
    ] = None,
    more: Annotated[list[str] | None, typer.Argument(metavar="MORE", help="Further paths.")] = None,
    seconds: Annotated[float, typer.Option(min=0, help="How long files are counted, in all.")] = 30.0,
) -> None:
    """Check the installation, the home, the stack, the keys, the vaults and the items; predict what first backups add.

    Items are named that could not be restored today, or whose last backup failed. For every item of files without a
    recovery point, or for --path, files are counted and the room is predicted that the vault's metadata and the
    worker's cache will take. Exit code 1 when something is wrong, or the cache has not enough room.
    """
    session = Session.of(ctx)
    if more and not path:
        raise SkyharborError("bad-request", f"{more[0]!r} is no option: paths begin with --path")
    paths = [os.path.abspath(one) for one in (*(path or ()), *(more or ()))]
    findings: list[Finding] = []
    for finding in _findings(session, paths, seconds):
        findings.append(finding)
        if not session.out.json:
            session.out.text(f"{'ok  ' if finding.ok else 'BAD '} {finding.check:<18} {finding.detail}")
            if finding.hint:
                session.out.text(f"     {'':<18} → {finding.hint}")
    if session.out.json:
        session.out.document(
            {"ok": all(finding.ok for finding in findings), "checks": [_document(f) for f in findings]}
        )
    if not all(finding.ok for finding in findings):
        raise typer.Exit(ExitCode.FAILED)


def _document(finding: Finding) -> dict[str, object]:
    told = {key: value for key, value in asdict(finding).items() if key != "prediction"}
    return told if finding.prediction is None else {**told, "prediction": msgspec.to_builtins(finding.prediction)}


def _findings(session: Session, paths: Sequence[str], seconds: float) -> Iterator[Finding]:
    yield _python()
    yield _packages()
    yield _home(session.home)
    yield _space(session.home)
    forecast = Forecast(session, seconds)
    if paths:
        yield _guarded("paths", lambda: forecast.of_paths(paths))
    yield _guarded("stack", lambda: _stack(session))
    yield _guarded("tower", lambda: _tower(session))
    if session.endpoint() is None:
        return
    yield _guarded("clock", lambda: _clock(session))
    yield _guarded("workers", lambda: _workers(session))
    yield _guarded("keyring", lambda: _keyring(session))
    yield _guarded("alarms", lambda: _alarms(session))
    yield from _vaults(session)
    if not paths:
        yield from at_risk(session)
        yield from slots(session)
        yield from _items(session, forecast)


def _items(session: Session, forecast: Forecast) -> Iterator[Finding]:
    """Items that were never backed up, where their files can be counted: when the worker is on this machine."""
    if not session.is_local():
        return
    try:
        items = [
            item for item in session.tower().items("/items") if item["workload"] == "files" and not item["last_point"]
        ]
        vaults = {vault["id"]: str(vault["url"]) for vault in session.tower().items("/vaults")} if items else {}
    except SkyharborError:
        return  # the tower's own finding has said it
    for item in items:
        yield _guarded(
            f"item {item['name']}",
            lambda item=item: forecast.of_item(item, vaults.get(item["vault"]["id"])),  # type: ignore[misc]
        )


def _guarded(check: str, look: Callable[[], Finding]) -> Finding:
    try:
        return look()
    except SkyharborError as error:
        return Finding(check, ok=False, detail=f"{error.kind.title}: {error.detail}", hint=error.hint)


def _python() -> Finding:
    have = ".".join(str(part) for part in sys.version_info[:3])
    if sys.version_info[:3] >= _PYTHON:
        return Finding("python", ok=True, detail=f"{have} ({sys.executable})")
    return Finding("python", ok=False, detail=have, hint="Use Python 3.11.4 or newer.")


def _packages() -> Finding:
    import importlib.util

    missing = [name for name in _PARTS + _TOWER_PARTS if importlib.util.find_spec(name) is None]
    if not missing:
        return Finding("packages", ok=True, detail=f"{len(_PARTS + _TOWER_PARTS)} found")
    return Finding(
        "packages", ok=False, detail=f"missing: {', '.join(missing)}", hint="Install again with 'make setup'."
    )


def _home(home: str) -> Finding:
    try:
        status = os.stat(home)
    except FileNotFoundError:
        return Finding("home", ok=True, detail=f"{home} is made by the first 'skyharbor up'")
    except OSError as error:
        return Finding(
            "home", ok=False, detail=f"{home}: {error.strerror}", hint="Choose a home of your own with --home."
        )
    if status.st_uid != os.geteuid():
        return Finding("home", ok=False, detail=f"{home} belongs to user {status.st_uid}", hint="Run as its owner.")
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o077:
        return Finding("home", ok=False, detail=f"{home} is open to others ({mode:04o})", hint=f"chmod 700 {home}")
    return Finding("home", ok=True, detail=f"{home} ({mode:04o})")


def _space(home: str) -> Finding:
    free, folder = room_under(home)
    if free >= _LEAST_FREE:
        return Finding("disk space", ok=True, detail=f"{formats.size(free)} free under {folder}")
    return Finding(
        "disk space", ok=False, detail=f"{formats.size(free)} free under {folder}", hint="Free at least 1 GiB."
    )


def _stack(session: Session) -> Finding:
    if not session.is_local():
        return Finding("stack", ok=True, detail="the server is elsewhere")
    document = session.stack.status(session.home)
    versions = ", ".join(f"{name} {version}" for name, version in _mapping(document.get("versions")).items())
    if document.get("healthy"):
        return Finding("stack", ok=True, detail=f"all processes are alive; {versions}")
    if document.get("running"):
        dead = [p["name"] for p in _list(document.get("processes")) if not p.get("alive") or p.get("hangs")]
        return Finding(
            "stack", ok=False, detail=f"not healthy: {', '.join(dead)}", hint=f"Read {document.get('logs')}."
        )
    return Finding("stack", ok=False, detail=f"nothing runs under {session.home}", hint="Start it with 'skyharbor up'.")


def _tower(session: Session) -> Finding:
    tower = session.tower()
    system = tower.get("/system")
    return Finding("tower", ok=True, detail=f"{tower.url}, version {system['version']}, schema {system['schema']}")


def _clock(session: Session) -> Finding:
    """Compare with the Date header of an answer: it has whole seconds, so half of one is added."""
    from email.utils import parsedate_to_datetime

    before = session.clock.now()
    date = session.tower().server_date()
    after = session.clock.now()
    if date is None:
        return Finding("clock", ok=True, detail="the server does not say its time")
    there = parsedate_to_datetime(date).replace(tzinfo=UTC)
    here = datetime.fromtimestamp((before.timestamp() + after.timestamp()) / 2, UTC)
    off = (here - there).total_seconds() - 0.5
    if abs(off) <= _CLOCK_TOLERANCE + 0.5:
        return Finding("clock", ok=True, detail="agrees with the tower's")
    return Finding("clock", ok=False, detail=f"{off:+.0f} s off the tower's", hint="Synchronise the clocks with NTP.")


def _workers(session: Session) -> Finding:
    workers = session.tower().get("/system")["workers"]
    if workers:
        return Finding("workers", ok=True, detail=", ".join(str(worker["name"]) for worker in workers))
    return Finding(
        "workers", ok=False, detail="none has said hello", hint="Read the worker's log; see 'skyharbor status'."
    )


def _keyring(session: Session) -> Finding:
    from shared.crypto.keyring import Keyring

    keyring = Keyring(session.stack.keyring_folder(session.home))
    machines = list(session.tower().items("/machines"))
    locked = [machine["name"] for machine in machines if not _has_key(keyring, machine["id"])]
    if not locked or not session.is_local():
        return Finding("keyring", ok=True, detail=f"{len(machines) - len(locked)} of {len(machines)} machines' keys")
    return Finding(
        "keyring", ok=False, detail=f"no usable key of {', '.join(locked)}", hint="skyharbor machine unlock NAME"
    )


def _alarms(session: Session) -> Finding:
    kinds = Counter(str(alarm["kind"]) for alarm in session.tower().items("/alarms"))
    if not kinds:
        return Finding("alarms", ok=True, detail="none is open")
    told = ", ".join(f"{kind} {count:,}" for kind, count in sorted(kinds.items()))
    return Finding("alarms", ok=False, detail=f"open: {told}", hint="See 'skyharbor alarm list'.")


def _has_key(keyring: Any, machine_id: str) -> bool:
    try:
        keyring.get(machine_id)
    except SkyharborError:
        return False
    return True


def _vaults(session: Session) -> Iterator[Finding]:
    try:
        vaults = list(session.tower().items("/vaults"))
    except SkyharborError:
        return  # the tower's own finding has said it
    for vault in vaults:
        yield _guarded(f"vault {vault['name']}", lambda vault=vault: _vault(vault))  # type: ignore[misc]


def _vault(vault: Mapping[str, Any]) -> Finding:
    from shared.storage.open import open_store
    from shared.vault.vault import open_vault

    store = open_store(vault["url"])
    try:
        found = open_vault(store)
    finally:
        store.close()
    if found.problems:
        return Finding(
            f"vault {vault['name']}",
            ok=False,
            detail=f"{vault['url']}: {'; '.join(found.problems)}",
            hint="Back something up into it: that writes a missing vault.json again.",
        )
    if str(found.header.id) != vault["id"]:
        return Finding(
            f"vault {vault['name']}",
            ok=False,
            detail=f"{vault['url']} holds another vault",
            hint="Check what is mounted there.",
        )
    return Finding(f"vault {vault['name']}", ok=True, detail=vault["url"])


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: object) -> list[Mapping[str, Any]]:
    return value if isinstance(value, list) else []
