"""The place of a storm: a stack, machines, vaults, sources with oracle copies, and every way to get at them.

Rule of the file: it builds, asks and remembers; what breaks is in ``faults``, what must hold in ``checker``.
"""

from __future__ import annotations

import base64
import json
import os
import random
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import psycopg

from tests.storm.book import Asked, Book
from tests.storm.caller import Caller
from tests.storm.checker.leaves import keep_ledger
from tests.storm.checker.lives import TERMINAL
from tests.storm.checker.violation import Violation
from tests.storm.sources import Source
from tests.storm.workers import SecondWorker
from tests.support.stack import Stack, wait_for

_ENV = {"SKYHARBOR_SHARD_ENTRIES": "120"}
"""So that even small backups are shared by the workers."""

POLICIES = {
    "patient": "retention: {last: 3}\n",
    "hasty": "retention: {last: 2}\nstart_within: 20s\nfinish_within: 40s\nretry: {attempts: 2, longest_pause: 10s}\n",
}
"""Both are due every minute; a hasty job ends as expired or cancelled when it is not quick enough."""

_COLLECTED = 0.25
"""So often a request is accompanied by a collection."""

_PLACES = {"m1": (), "m2": ("--location", "berlin", "--tenant", "acme")}
"""The second machine is limited by its tenant, its location and the line of that."""


class Scene:
    """One storm's world. ``close`` ends every process of it."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.stack = Stack(folder / "home", env=_ENV)
        self.book = Book()
        self.sources: dict[str, Source] = {}
        self.fences: list[dict[str, Any]] = []
        self.findings: list[Violation] = []
        self._rng = random.Random(f"{seed} scene")
        self._targets = 0

    # ── building ──────────────────────────────────────────────────────────────────────────────────

    def build(self, *, items: int, mebibytes: int) -> None:
        """Start everything: two machines, two vaults, items on demand, and two that are due every minute."""
        (self.folder / "targets").mkdir()
        self.stack.up()
        loops = Path(f"/proc/{self.pid('loops')}/environ").read_bytes().split(b"\0")
        env = dict(variable.decode().partition("=")[::2] for variable in loops)
        self.broker_url = env["SKYHARBOR_BROKER_URL"]
        self.broker_socket = urlsplit(self.broker_url).path
        self.dsn = _dsn(env["SKYHARBOR_DATABASE_URL"])
        self.operator = Caller(lambda: self.stack.url, token=self.stack.token("token"))
        self.work = Caller(lambda: self.stack.url, token=self.stack.token("worker.token"))
        with self.database() as connection:
            keep_ledger(connection)
        self.second = SecondWorker(self.stack.home, broker_url=self.broker_url, env=_ENV)
        self.second.start(self.stack.url)
        for name in ("m1", "m2"):
            self.passphrase_file(name).write_text(f"passphrase {self._rng.getrandbits(128):032x}\n")
            self.stack.ask("machine", "add", name, "--passphrase-file", str(self.passphrase_file(name)), *_PLACES[name])
        for name, folder in self.vaults.items():
            self.stack.ask("vault", "create", name, "--store", f"file://{folder}")
        for name, more in POLICIES.items():
            text = f'name: {name}\nschedule: {{cron: "* * * * *", zone: UTC}}\n{more}'
            self.operator.json("POST", "/api/v1/policies", {"yaml": text})
        # More may start than the workers have seats for, so that doorbells wait in the queue.
        machines = [("machine/m1", 4), ("machine/m2", 4)]
        for scope, capacity in [*machines, ("location/berlin", 3), ("tenant/acme", 3), ("bandwidth/berlin", 20)]:
            self.operator.json("PUT", f"/api/v1/slots/{scope}", {"capacity": capacity})
        scheduled = iter(POLICIES)
        for number in range(items):
            self._protect(number, mebibytes=mebibytes if number % 3 else 1, policy=next(scheduled, None))

    def passphrase_file(self, machine: str) -> Path:
        """Where a machine's passphrase is."""
        return self.folder / f"{machine}.passphrase"

    @property
    def vaults(self) -> dict[str, Path]:
        """Folders by vault."""
        return {name: self.folder / name for name in ("v1", "v2")}

    def _protect(self, number: int, *, mebibytes: int, policy: str | None) -> None:
        place = self.folder / "sources" / f"item{number}"
        source = Source(
            item=f"item{number}",
            machine=f"m{number % 2 + 1}",
            vault=f"v{number // 2 % 2 + 1}",
            tree=place / "tree",
            copies=place / "copies",
            marker=f"plain{self._rng.getrandbits(80):020x}",
            scheduled=policy is not None,
        )
        source.plant(self._rng, files=40 + 50 * (number % 4), mebibytes=mebibytes)
        body = {
            "name": source.item,
            "workload": "files",
            "machine": source.machine,
            "vault": source.vault,
            "source": {"paths": [str(source.tree)], "excludes": []},
            "policy": policy,
            "retention": None if policy else {"last": 4},
        }
        self.operator.json("POST", "/api/v1/items", body)
        self.sources[source.item] = source

    def close(self) -> None:
        """End every process."""
        if hasattr(self, "second"):
            self.second.stop(signal.SIGKILL)
        for part in ("api", "loops", "worker", "postgres", "valkey"):
            self.signal(part, signal.SIGCONT)
        self.stack.down()

    # ── processes ─────────────────────────────────────────────────────────────────────────────────

    def pid(self, part: str) -> int | None:
        """The process id of one part of the stack now; None while it is being started again."""
        try:
            record = json.loads((self.stack.home / "run" / "stack.json").read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return None
        return next((process["pid"] for process in record["processes"] if process["name"] == part), None)

    def signal(self, part: str, number: signal.Signals) -> bool:
        """Send a signal to one part of the stack; whether there was anybody."""
        pid = self.pid(part)
        return pid is not None and send(pid, number)

    def wait_for_part(self, part: str, *, other_than: int | None) -> None:
        """Wait until a part runs under another process id."""
        wait_for(lambda: self.pid(part) not in (None, other_than), f"{part} to be started again", seconds=40)

    @contextmanager
    def workers_held(self) -> Iterator[None]:
        """Keep all workers from moving for a moment, so that what is meant for them lies where it is."""
        held = [pid for pid in (self.pid("worker"), self.second.pid) if pid is not None and send(pid, signal.SIGSTOP)]
        try:
            yield
        finally:
            for pid in held:
                send(pid, signal.SIGCONT)

    # ── the database, as somebody who may do everything ───────────────────────────────────────────

    @contextmanager
    def database(self) -> Iterator[psycopg.Connection[Any]]:
        """A connection in autocommit; waits while the database is away."""
        found: list[psycopg.Connection[Any]] = []

        def connected() -> bool:
            try:
                found.append(psycopg.connect(self.dsn, autocommit=True, connect_timeout=5, application_name="storm"))
            except psycopg.OperationalError:
                return False
            return True

        wait_for(connected, "the database", seconds=60)
        with found[0] as connection:
            yield connection

    def sql(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Run one statement that may be repeated; return its rows."""
        while True:
            try:
                with self.database() as connection:
                    cursor = connection.execute(query, values)
                    return cursor.fetchall() if cursor.description else []
            except psycopg.OperationalError:
                continue

    # ── asking ────────────────────────────────────────────────────────────────────────────────────

    def open_jobs(self) -> set[str]:
        """The ids of the jobs that have not ended."""
        return {row[0] for row in self.sql("SELECT id FROM job WHERE NOT state = ANY (%s)", list(TERMINAL))}

    def request(self, rng: random.Random) -> None:
        """Ask for one more job: mostly backups of changing items, sometimes a restore or a verify of a point.

        Sometimes a vault is collected, in a hurry: all that is condemned may go as soon as no writer is older.
        """
        points = self.sql(
            "SELECT p.id, i.name, p.job_id FROM recovery_point p JOIN item i ON i.id = p.item_id"
            " WHERE p.state = 'sealed'"
        )
        if rng.random() < _COLLECTED:
            self._collect(rng)
        known = [point for point in points if point[2] in self.book.jobs]
        what = rng.random()
        if known and what < 0.2:
            point, item, _ = rng.choice(known)
            self._targets += 1
            target = self.folder / "targets" / str(self._targets)
            body: dict[str, Any] = {"kind": "restore", "point": point, "target": str(target)}
            asked = Asked("restore", item, point=point, target=target)
        elif known and what < 0.3:
            point, item, _ = rng.choice(known)
            body = {"kind": "verify", "point": point, "full": rng.random() < 0.5}
            asked = Asked("verify", item, point=point)
        else:
            source = rng.choice([source for source in self.sources.values() if not source.scheduled])
            if not self._is_busy(source.item):
                source.change(rng)
            body = {"kind": "backup", "item": source.item, "type": rng.choice(["incremental"] * 3 + ["full"])}
            asked = Asked("backup", source.item, version=source.version)
        reply = self.operator.ask("POST", "/api/v1/jobs", body, key=f"storm-{rng.getrandbits(64)}")
        if reply.status_code == 409 and asked.point is not None:
            return  # it has begun to expire since
        assert reply.status_code in (200, 202), reply.text
        self.book.promised(reply.json()["id"], asked)

    def _collect(self, rng: random.Random) -> None:
        vault = rng.choice(sorted(self.vaults))
        key = f"collect-{rng.getrandbits(64)}"
        reply = self.operator.ask("POST", f"/api/v1/vaults/{vault}/collect", {"now": rng.random() < 0.8}, key=key)
        if reply.status_code == 409:
            return  # another collection of it has not ended
        assert reply.status_code in (200, 202), reply.text
        self.book.promised(reply.json()["id"], Asked("collect", vault))
        self.book.collections += 1

    def _is_busy(self, item: str) -> bool:
        query = "SELECT 1 FROM job j JOIN item i ON i.id = j.item_id WHERE i.name = %s AND NOT j.state = ANY (%s)"
        return bool(self.sql(query, item, list(TERMINAL)))

    def version_of(self, job: str, item: str) -> int:
        """The version of the source that a backup has seen. A scheduled job's source never changes."""
        asked = self.book.jobs.get(job)
        return asked.version if asked is not None and asked.version is not None else self.sources[item].version

    def secrets(self) -> dict[str, bytes]:
        """Everything that must not be found anywhere, by name."""
        found = {f"the passphrase of {m}": self.passphrase_file(m).read_bytes().strip() for m in ("m1", "m2")}
        for path in (self.stack.home / "keyring").glob("*.key"):
            found[f"the data key {path.name}"] = base64.b64decode(json.loads(path.read_text())["dek"])
        for name in ("token", "worker.token"):
            found[f"the credential {name}"] = self.stack.token(name).encode()
        found["the database's password"] = (self.stack.home / "postgres" / "password").read_bytes().strip()
        found |= {f"the content of {source.item}": source.marker.encode() for source in self.sources.values()}
        return found


def send(pid: int, number: signal.Signals) -> bool:
    """Send a signal to a process that may be gone; whether it was there."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def _dsn(url: str) -> str:
    parts = urlsplit(url)
    host = parse_qs(parts.query)["host"][0]
    password = unquote(parts.password or "")
    return f"host={host} port=5432 user={parts.username} password={password} dbname={parts.path.strip('/')}"
