"""docker-compose.yml run by hand: its commands and environments, with hosts, paths and ports of this machine.

No engine is needed, so this proves the settings, the order, the health checks and the secrets; not the images.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from orchestrator.embedded import binaries
from tests.support.compare import differences
from tests.support.compose import ROOT, Mapped, load
from tests.support.fleet import make_tree
from tests.support.postgres import database_url, postgres_server  # noqa: F401 - fixtures
from tests.support.seaweed import find_weed
from tests.support.served import free_port

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]

SKYHARBOR = [sys.executable, "-m", "orchestrator.bootstrap"]
HOME = "/var/lib/skyharbor"


@dataclass
class ByHand:
    """The services of the file as processes of this machine."""

    folder: Path
    database_url: str
    services: dict[str, Any]
    ports: dict[str, int] = field(default_factory=dict)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def make_secrets(self) -> None:
        """Make them as the script does, but for the database's: that server is there already."""
        (self.folder / "secrets").mkdir()
        script = self.folder / "make-secrets.sh"
        script.write_bytes((ROOT / "deploy" / "make-secrets.sh").read_bytes())
        password = unquote(urlsplit(self.database_url.replace("+psycopg", "")).password or "")
        (self.folder / "secrets" / "database_password").write_text(password)
        subprocess.run(["sh", str(script)], check=True)
        (self.folder / "secrets" / "store_identities").symlink_to("store_identities.json")

    def mapped(self, name: str) -> Mapped:
        """One service with its places on this machine."""
        own = self.folder / name
        for place in (own / "run", own / "tmp", own / "home"):
            place.mkdir(parents=True, exist_ok=True, mode=0o700)
        bare = re.sub(r":[^:@]*@", "@", self.database_url.replace("+psycopg", ""), count=1)
        role = name.partition("-")[0]
        port = self.ports.setdefault(name, free_port())
        replacements = {
            "postgresql://skyharbor@postgres:5432/skyharbor": bare,
            "valkey:6379": f"127.0.0.1:{self.ports.setdefault('valkey', free_port())}",
            "store:8333": f"127.0.0.1:{self.ports.setdefault('store', free_port())}",
            "tower:8470": f"127.0.0.1:{self.ports.setdefault('api-1', free_port())}",
            "/run/secrets": str(self.folder / "secrets"),
            "/run/skyharbor": str(own / "run"),
            "/tmp": str(own / "tmp"),
            "/store": str(own / "home"),
            "/data": str(own / "home"),
            HOME: str(own / "home"),
            "0.0.0.0": "127.0.0.1",
        }
        ours = {"api": "8470", "flower": "5555", "store": "8333"}.get(role)
        if ours is not None:
            replacements |= {f":{ours}": f":{port}", f"={ours}": f"={port}"}
        if role == "flower":
            replacements[ours or ""] = str(port)
        mapped = Mapped(name, self.services[name], replacements)
        mapped.link_volumes(self.folder / "volumes")
        return mapped

    def start(self, name: str, *, command: Sequence[str] = (), health: Sequence[str] = ()) -> None:
        """Start a service and wait until its own health check says that it is well; or its end, when it is to end.

        With a ``command`` or a ``health`` in words of this machine, these.
        """
        one = self.mapped(name)
        argv = list(command) or [*SKYHARBOR, *one.command]
        # The image says where the home is; the file does not repeat it.
        home = {"SKYHARBOR_HOME": one.here(HOME)}
        environment = {"PATH": os.environ["PATH"], **home, **one.environment}
        with open(self.folder / f"{name}.log", "ab") as log:
            process = subprocess.Popen(argv, env=environment, stdout=log, stderr=log, cwd=self.folder / name / "home")
        self.processes[name] = process
        if one.service["healthcheck"].get("disable"):
            assert process.wait(timeout=60) == 0, self.log(name)
            return
        deadline = time.monotonic() + 60
        question = list(health) or one.health
        while subprocess.run(question, env=environment, capture_output=True, check=False).returncode != 0:
            assert process.poll() is None, f"{name} ended:\n{self.log(name)}"
            assert time.monotonic() < deadline, f"{name} does not get well:\n{self.log(name)}"
            time.sleep(0.1)

    def cli(self, *arguments: str) -> Any:
        """Run the command line as its service does, and return the document that it prints."""
        one = self.mapped("cli")
        environment = {"PATH": os.environ["PATH"], "SKYHARBOR_HOME": one.here(HOME), **one.environment}
        done = subprocess.run(
            [*SKYHARBOR, "--json", *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    def log(self, name: str) -> str:
        """The end of what a service has said."""
        return (self.folder / f"{name}.log").read_text(errors="replace")[-2000:]

    def stop_all(self) -> dict[str, int]:
        """End everything, the last one first, and return the exit codes."""
        codes = {}
        for name, process in reversed(self.processes.items()):
            process.terminate()
            try:
                codes[name] = process.wait(timeout=45)
            except subprocess.TimeoutExpired:
                process.kill()
                codes[name] = process.wait()
        self.processes.clear()
        return codes


def in_order(services: dict[str, Any]) -> list[str]:
    """The services that an engine starts, each after those that it depends on."""
    order: list[str] = []

    def add(name: str) -> None:
        for other in services[name].get("depends_on", ()):
            add(other)
        if name not in order:
            order.append(name)

    for name, service in services.items():
        if "profiles" not in service:
            add(name)
    return order


def roles() -> set[str]:
    """What ``serve`` can do."""
    said = subprocess.run([*SKYHARBOR, "serve", "--help"], capture_output=True, text=True, check=True).stdout
    return set(re.findall(r"^  (\w+)  ", said, re.MULTILINE))


@pytest.fixture
def by_hand(tmp_path: Path, database_url: str) -> Iterator[ByHand]:  # noqa: F811
    document = load({"SKYHARBOR_DATA": str(tmp_path / "src"), "SKYHARBOR_WORKER_CONCURRENCY": "2"})
    hand = ByHand(tmp_path, database_url, document["services"])
    hand.make_secrets()
    yield hand
    hand.stop_all()


def test_the_file_runs_by_hand_through_a_first_backup_and_restore(by_hand: ByHand, tmp_path: Path) -> None:
    weed = find_weed()
    if weed is None:
        pytest.skip("the program weed is not installed")
    tree = make_tree(tmp_path / "src")
    known = roles()
    for name in in_order(by_hand.services):
        command = by_hand.mapped(name).command if "command" in by_hand.services[name] else []
        if name == "postgres":
            continue  # the test's own; its image is run by no command of ours
        if name == "valkey":
            script = command[-1].replace("valkey-server", binaries.valkey_server())
            own = f"{script} --bind 127.0.0.1 --port {by_hand.ports['valkey']}"
            by_hand.start(name, command=[*command[:-1], own], health=valkey_answers(by_hand))
        elif name == "store":
            by_hand.start(name, command=[weed, *command, *other_ports()], health=store_answers(by_hand))
        elif "entrypoint" in by_hand.services[name]:
            python, *options = by_hand.services[name]["entrypoint"]
            assert python == "python"
            by_hand.start(name, command=[sys.executable, *options, *command])
        elif by_hand.services[name]["command"][1] in known:
            by_hand.start(name)

    by_hand.cli("vault", "create", "cellar", "--store", "s3://skyharbor/vault")
    by_hand.cli("machine", "add", "web1", "--generate-passphrase")
    by_hand.cli("item", "add", "files", "docs", "--machine", "web1", "--vault", "cellar", "--path", str(tree))
    backup = by_hand.cli("backup", "docs", "--wait")
    target = by_hand.mapped("worker-1").here(f"{HOME}/restored")
    restore = by_hand.cli("restore", backup["point"], "--to", target, "--wait")
    workers = {worker["name"] for worker in by_hand.cli("status")["workers"]}
    codes = by_hand.stop_all()

    assert (backup["state"], restore["state"], workers) == ("completed", "completed", {"worker-1", "worker-2"})
    assert differences(tree, Path(target) / str(tree).lstrip("/")) == []
    ours = {name: code for name, code in codes.items() if name not in ("valkey", "store")}
    assert ours == dict.fromkeys(ours, 0)
    assert {name.partition("-")[0] for name in ours} >= {"migrate", "api", "loops", "worker", "flower"}


def valkey_answers(by_hand: ByHand) -> list[str]:
    """Its health check without valkey-cli, which need not be installed here."""
    secret = by_hand.folder / "secrets" / "broker_password"
    code = f"import redis; redis.Redis(port={by_hand.ports['valkey']}, password=open('{secret}').read()).ping()"
    return [sys.executable, "-c", code]


def store_answers(by_hand: ByHand) -> list[str]:
    """Its health check without wget, which need not be installed here."""
    code = f"import httpx; assert httpx.get('http://127.0.0.1:{by_hand.ports['store']}').status_code == 403"
    return [sys.executable, "-c", code]


def other_ports() -> list[str]:
    """In a container the store's other ports are its own; here they must be free ones."""
    names = [f"-{part}.port{kind}" for part in ("master", "volume", "filer") for kind in ("", ".grpc")]
    return [f"{name}={free_port()}" for name in [*names, "-s3.port.grpc"]]
