"""Fleets as people write them: YAML in, a ``Fleet`` out, or every mistake with its line.

Rule of the file: which keys there are and what they mean; how documents and values are read is the domain's
``marked_yaml`` and ``readings``, and policies are read exactly as ``policy apply`` reads them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TypeVar

from orchestrator.domain.inventory import DEFAULT_TENANT
from orchestrator.domain.marked_yaml import Mistakes, Node, compose, is_scalar, mapping, sequence, value
from orchestrator.domain.names import check_name, check_tag
from orchestrator.domain.policy import PolicySpec
from orchestrator.domain.policy_text import read_policy
from orchestrator.domain.readings import duration, local_time, whole_number
from orchestrator.domain.slots import MACHINE_CAPACITY, MOST_CAPACITY, Scope, ScopeKey, parse_scope
from orchestrator.simulation.fleet import (
    TOWER,
    USUAL_START,
    WORKERS,
    Fleet,
    ItemGroup,
    Outage,
    Spread,
    WorkerKind,
)
from orchestrator.simulation.fleet_values import mib, number, number_above_zero, one_of, share, spread
from orchestrator.simulation.wishes_text import Places, read_restores, read_verifies
from shared.errors import REGISTRY, ErrorClass

MOST_ITEMS = 1_000_000
MOST_DAYS = 366
MOST_ENTRIES = 1_000
_LONGEST = f"{MOST_DAYS}d"
_KEYS = (
    "start", "days", "step", "begin", "overhead", "policies", "items", "workers", "vaults", "locations", "slots",
    "tenants", "restores", "verifies", "failures", "losses", "outages",
)  # fmt: skip
_ITEM_KEYS = (
    "name", "count", "machines", "tags", "policy", "tenant", "location", "vault", "hypervisors", "size", "change",
    "rpo",
)  # fmt: skip
_K = TypeVar("_K")
_N = TypeVar("_N")


def parse_fleet(document: str) -> Fleet:
    """Read a fleet. ``fleet-invalid`` carries the field ``errors``: a list of {line, message}, by line."""
    mistakes = Mistakes()
    root = compose(document, mistakes, longest=1 << 20)
    fleet = None if root is None else _fleet(root, mistakes)
    mistakes.refuse("fleet-invalid")
    if fleet is None:
        raise AssertionError("a document that is no fleet has a mistake")
    return fleet


def _fleet(root: Node, mistakes: Mistakes) -> Fleet:
    keys = mapping(root, _KEYS, mistakes)
    for name in ("policies", "items", "workers", "vaults"):
        if name not in keys:
            mistakes.add(root, f"a fleet needs {name}:")
    policies = _policies(keys.get("policies"), mistakes)
    vaults, lines = _speeds(keys.get("vaults"), "vault", mistakes), _speeds(keys.get("locations"), "location", mistakes)
    groups = _groups(keys.get("items"), policies, vaults, lines, mistakes)
    workers = _workers(keys.get("workers"), mistakes)
    places = Places({group.name: group for group in groups}, lines, vaults)
    slots, machine_slots = _slots(keys.get("slots"), vaults, mistakes)
    losses = mapping(keys["losses"], ("per_day", "back_after"), mistakes) if "losses" in keys else {}
    return Fleet(
        start=value(keys.get("start"), USUAL_START, _start, mistakes),
        days=value(keys.get("days"), 7, whole_number(1, MOST_DAYS), mistakes),
        step=value(keys.get("step"), None, _at_least_one_second, mistakes),
        empty=value(keys.get("begin"), False, _is_empty, mistakes),
        overhead=value(keys.get("overhead"), 10, duration("1h"), mistakes),
        policies=policies,
        groups=groups,
        workers=workers,
        vaults=vaults,
        lines=lines,
        slots=slots,
        machine_slots=machine_slots,
        weights=_numbers(keys.get("tenants"), _tenant, whole_number(1, 1000), mistakes),
        failures=_numbers(keys.get("failures"), _error_code, share, mistakes),
        losses_per_day=value(losses.get("per_day"), 0.0, number, mistakes),
        back_after=value(losses.get("back_after"), 300, duration("31d"), mistakes),
        restores=read_restores(keys.get("restores"), places, mistakes),
        verifies=read_verifies(keys.get("verifies"), places, mistakes),
        outages=_outages(keys.get("outages"), vaults, {kind.name: kind for kind in workers}, mistakes),
    )


def _policies(node: Node | None, mistakes: Mistakes) -> Mapping[str, PolicySpec]:
    found: dict[str, PolicySpec] = {}
    for each in sequence(node, mistakes, most=MOST_ENTRIES, hint="policies: is a list; begin each with '- name: …'"):
        spec = read_policy(each, mistakes)
        if spec.name in found:
            mistakes.add(each, f"there are two policies named {spec.name!r}")
        found[spec.name] = spec
    return found


def _groups(
    node: Node | None,
    policies: Mapping[str, PolicySpec],
    vaults: Mapping[str, object],
    lines: Mapping[str, object],
    mistakes: Mistakes,
) -> tuple[ItemGroup, ...]:
    found: dict[str, ItemGroup] = {}
    for each in sequence(node, mistakes, most=MOST_ENTRIES, hint="items: is a list; begin each with '- name: …'"):
        keys = mapping(each, _ITEM_KEYS, mistakes)
        for name in ("name", "count", "vault", "size"):
            if name not in keys:
                mistakes.add(each, f"items need {name}:")
        count = value(keys.get("count"), 1, whole_number(1, MOST_ITEMS), mistakes)
        group = ItemGroup(
            name=value(keys.get("name"), "", lambda text: check_name(text, noun="group"), mistakes),
            count=count,
            machines=value(keys.get("machines"), count, whole_number(1, MOST_ITEMS), mistakes),
            policy=_followed(each, keys, policies, mistakes),
            tenant=value(keys.get("tenant"), DEFAULT_TENANT, _tenant, mistakes),
            location=value(keys.get("location"), "", one_of(lines, "location"), mistakes),
            vault=value(keys.get("vault"), "", one_of(vaults, "vault"), mistakes),
            hypervisors=value(keys.get("hypervisors"), 0, whole_number(0, MOST_ITEMS), mistakes),
            size=spread(keys.get("size"), mib, Spread(1.0, 1.0), mistakes),
            change=spread(keys.get("change"), share, Spread(0.02, 0.02), mistakes),
            rpo=value(keys.get("rpo"), None, duration("999d"), mistakes),
        )
        if group.name in found:
            mistakes.add(each, f"there are two groups of items named {group.name!r}")
        found[group.name] = group
    if sum(group.count for group in found.values()) > MOST_ITEMS and node is not None:
        mistakes.add(node, f"at most {MOST_ITEMS:,} items in all")
    return tuple(found.values())


def _followed(node: Node, keys: Mapping[str, Node], policies: Mapping[str, PolicySpec], mistakes: Mistakes) -> str:
    """Return the policy that a group names, or else the one that its tags choose."""
    if "policy" in keys:
        return value(keys["policy"], "", one_of(policies, "policy"), mistakes)
    listed = sequence(keys.get("tags"), mistakes, most=64, hint="tags: is a list, such as [databases, berlin]")
    tags = {value(each, "", check_tag, mistakes) for each in listed}
    selecting = [name for name, spec in policies.items() if spec.tags and set(spec.tags) <= tags]
    if len(selecting) == 1:
        return selecting[0]
    several = f"several policies select these tags ({', '.join(selecting)})"
    said = several if selecting else "no policy selects these items"
    mistakes.add(keys.get("tags", node), f"{said}: name one with policy:")
    return ""


def _workers(node: Node | None, mistakes: Mistakes) -> tuple[WorkerKind, ...]:
    found: list[WorkerKind] = []
    for each in sequence(node, mistakes, most=MOST_ENTRIES, hint="workers: is a list; begin each with '- name: …'"):
        keys = mapping(each, ("name", "count", "slots", "mib_per_second"), mistakes)
        found.append(
            WorkerKind(
                name=value(keys.get("name"), "worker", lambda text: check_name(text, noun="worker"), mistakes),
                count=value(keys.get("count"), 1, whole_number(1, 100_000), mistakes),
                slots=value(keys.get("slots"), 4, whole_number(1, 1000), mistakes),
                mib_per_second=value(keys.get("mib_per_second"), 100.0, number_above_zero, mistakes),
            )
        )
    if node is not None and not found:
        mistakes.add(node, "name at least one kind of worker")
    return tuple(found)


def _speeds(node: Node | None, noun: str, mistakes: Mistakes) -> Mapping[str, float | None]:
    found: dict[str, float | None] = {}
    for each in sequence(node, mistakes, most=MOST_ENTRIES, hint=f"{noun}s: is a list; begin each with '- name: …'"):
        keys = mapping(each, ("name", "mib_per_second"), mistakes)
        if "name" not in keys:
            mistakes.add(each, f"give the {noun} a name")
        name = value(keys.get("name"), "", lambda text: check_name(text, noun=noun), mistakes)
        if name in found:
            mistakes.add(each, f"there are two {noun}s named {name!r}")
        found[name] = value(keys.get("mib_per_second"), None, number_above_zero, mistakes)
    return found


def _slots(node: Node | None, vaults: Mapping[str, object], mistakes: Mistakes) -> tuple[Mapping[ScopeKey, int], int]:
    def scope(text: str) -> ScopeKey:
        if text == Scope.MACHINE:
            return Scope.MACHINE, ""
        kind, key = parse_scope(text)
        if kind is Scope.MACHINE:
            raise ValueError("write machine: N for what every machine has")
        if kind is Scope.VAULT:
            one_of(vaults, "vault")(key)
        return kind, key

    read = dict(_numbers(node, scope, whole_number(1, MOST_CAPACITY), mistakes))
    machine = read.pop((Scope.MACHINE, ""), MACHINE_CAPACITY)
    return read, machine


def _outages(
    node: Node | None, vaults: Mapping[str, object], workers: Mapping[str, object], mistakes: Mistakes
) -> tuple[Outage, ...]:
    found: list[Outage] = []
    hint = "outages: is a list, such as - {what: vault/cellar, from: 26h, until: 30h}"
    for each in sequence(node, mistakes, most=MOST_ENTRIES, hint=hint):
        keys = mapping(each, ("what", "from", "until"), mistakes)
        if len(keys) < 3:
            mistakes.add(each, "an outage is {what: tower, vault/NAME or workers/NAME, from: 26h, until: 30h}")
            continue
        begins = value(keys["from"], 0, duration(_LONGEST), mistakes)
        ends = value(keys["until"], begins + 1, duration(_LONGEST), mistakes)
        if ends <= begins:
            mistakes.add(keys["until"], "until has to be later than from")
        found.append(Outage(value(keys["what"], TOWER, _breakable(vaults, workers), mistakes), begins, ends))
    return tuple(found)


def _breakable(vaults: Mapping[str, object], workers: Mapping[str, object]) -> Callable[[str], str]:
    def read(text: str) -> str:
        kind, slash, name = text.partition("/")
        if text == TOWER:
            return TOWER
        if kind == WORKERS and slash:
            return f"{WORKERS}/{one_of(workers, 'kind of workers')(name)}"
        if kind != "vault" or not slash:
            raise ValueError(f"{text!r} cannot fail here; write tower, vault/NAME or workers/NAME")
        return one_of(vaults, "vault")(name)

    return read


def _numbers(
    node: Node | None, name: Callable[[str], _K], number: Callable[[str], _N], mistakes: Mistakes
) -> Mapping[_K, _N]:
    """Return a mapping whose keys are not known beforehand."""
    if node is None:
        return {}
    if not isinstance(node.value, list) or is_scalar(node) or not all(isinstance(pair, tuple) for pair in node.value):
        mistakes.add(node, "write keys and values here")
        return {}
    found: dict[_K, _N] = {}
    for key, each in node.value:
        read_key, read = value(key, None, name, mistakes), value(each, None, number, mistakes)
        if read_key in found:
            mistakes.add(key, f"{key.value!r} is there twice; remove one")
        elif read_key is not None and read is not None:
            found[read_key] = read
    return found


def _tenant(text: str) -> str:
    return check_name(text, noun="tenant")


def _start(text: str) -> datetime:
    return datetime.fromisoformat(local_time(text)).replace(tzinfo=UTC)


def _at_least_one_second(text: str) -> int:
    seconds = duration("60s")(text)
    if seconds < 1:
        raise ValueError("a step is 1s to 60s")
    return seconds


def _is_empty(text: str) -> bool:
    if text not in ("empty", "protected"):
        raise ValueError(f"{text!r} is not one of empty, protected")
    return text == "empty"


def _error_code(text: str) -> str:
    kind = REGISTRY.get(text)
    if kind is None or kind.error_class is ErrorClass.REFUSED:
        raise ValueError(f"{text!r} is no error that a job fails with, such as store-unreachable or source-failed")
    return text
