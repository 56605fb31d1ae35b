"""Policies as people write them: YAML in, a ``PolicySpec`` out, or every mistake with its line.

Rule of the file: all mistakes are found in one go; unknown keys are mistakes; nothing is guessed.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar
from zoneinfo import ZoneInfo

import yaml

from orchestrator.domain.names import check_name
from orchestrator.domain.policy import OnMissed, PolicySpec, RetentionSpec, ScheduleSpec, WindowSpec
from orchestrator.domain.schedule import check_cron
from shared.errors import SkyharborError
from shared.model.backup import BackupType

LONGEST_DOCUMENT = 64 * 1024
MOST_SCHEDULES = 32
_T = TypeVar("_T")
_DURATION = re.compile(r"(\d{1,6})\s*(s|m|h)")
_UNITS = {"s": 1, "m": 60, "h": 3600}
_CLOCK = re.compile(r"([01]\d|2[0-3]):[0-5]\d")


@dataclass(slots=True)
class _Mistakes:
    found: list[dict[str, int | str]] = field(default_factory=list)

    def add(self, node: yaml.Node, message: str) -> None:
        self.found.append({"line": node.start_mark.line + 1, "message": message})


def parse_policy(document: str) -> PolicySpec:
    """Read a policy. ``policy-invalid`` carries the field ``errors``: a list of {line, message}, by line."""
    mistakes = _Mistakes()
    spec = _read(document, mistakes)
    if spec is None or mistakes.found:
        errors = sorted(mistakes.found, key=lambda error: error["line"])
        detail = "; ".join(f"line {error['line']}: {error['message']}" for error in errors)
        raise SkyharborError("policy-invalid", detail, errors=errors)
    return spec


def _read(document: str, mistakes: _Mistakes) -> PolicySpec | None:
    if len(document) > LONGEST_DOCUMENT:
        mistakes.found.append({"line": 1, "message": "the policy is longer than 64 KiB"})
        return None
    try:
        root = yaml.compose(document, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        mistakes.found.append({"line": mark.line + 1 if mark else 1, "message": f"not YAML: {error.problem}"})
        return None
    except RecursionError:
        mistakes.found.append({"line": 1, "message": "the policy is nested too deeply"})
        return None
    except yaml.YAMLError as error:
        mistakes.found.append({"line": 1, "message": f"not YAML: {error}"})
        return None
    if not isinstance(root, yaml.MappingNode):
        mistakes.found.append({"line": 1, "message": "write keys and values, beginning with name: …"})
        return None
    return _policy(root, mistakes)


def _policy(root: yaml.MappingNode, mistakes: _Mistakes) -> PolicySpec:
    known = ("name", "schedules", "schedule", "type", "on_missed", "jitter", "window", "retention", "priority")
    keys = _mapping(root, known, mistakes)
    if "name" not in keys:
        mistakes.add(root, "give the policy a name: name: nightly")
    default = _enum(keys.get("type"), BackupType, BackupType.INCREMENTAL, mistakes)
    schedules = _schedules(root, keys, default, mistakes)
    zone = schedules[0].zone if schedules else "UTC"
    return PolicySpec(
        name=_value(keys.get("name"), "", lambda text: check_name(text, noun="policy"), mistakes),
        schedules=schedules,
        on_missed=_enum(keys.get("on_missed"), OnMissed, OnMissed.RUN_ONCE, mistakes),
        jitter=_value(keys.get("jitter"), 0, _duration, mistakes),
        window=_window(keys.get("window"), zone, mistakes),
        retention=_retention(keys.get("retention"), mistakes),
        priority=_value(keys.get("priority"), 0, lambda text: _number(text, -4, 4), mistakes),
    )


def _mapping(node: yaml.Node, known: Sequence[str], mistakes: _Mistakes) -> dict[str, yaml.Node]:
    if not isinstance(node, yaml.MappingNode):
        mistakes.add(node, f"write keys and values here; known keys: {', '.join(known)}")
        return {}
    keys: dict[str, yaml.Node] = {}
    for key, value in node.value:
        name = str(key.value) if isinstance(key, yaml.ScalarNode) else ""
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(known)}"
            mistakes.add(key, f"unknown key {name!r}; {hint}")
        elif name in keys:
            mistakes.add(key, f"{name!r} is there twice; remove one")
        else:
            keys[name] = value
    return keys


def _schedules(
    root: yaml.Node, keys: dict[str, yaml.Node], default: BackupType, mistakes: _Mistakes
) -> tuple[ScheduleSpec, ...]:
    several, one = keys.get("schedules"), keys.get("schedule")
    if several is not None and one is not None:
        mistakes.add(one, "write either schedule: or schedules:, not both")
    if several is None and one is None:
        return ()
    if several is None:
        nodes = [one]
    elif isinstance(several, yaml.SequenceNode):
        nodes = list(several.value)
    else:
        mistakes.add(several, "schedules: is a list; begin each with '- cron: …', or write schedule: for a single one")
        return ()
    if len(nodes) > MOST_SCHEDULES:
        mistakes.add(root, f"at most {MOST_SCHEDULES} schedules in one policy")
        return ()
    read = [_schedule(node, default, mistakes) for node in nodes if node is not None]
    return tuple(schedule for schedule in read if schedule is not None)


def _schedule(node: yaml.Node, default: BackupType, mistakes: _Mistakes) -> ScheduleSpec | None:
    if isinstance(node, yaml.ScalarNode):
        cron = _value(node, "", check_cron, mistakes)
        return ScheduleSpec(cron=cron, zone="UTC", type=default) if cron else None
    keys = _mapping(node, ("cron", "zone", "type"), mistakes)
    if "cron" not in keys:
        mistakes.add(node, 'a schedule needs cron:, such as cron: "30 1 * * *"')
        return None
    cron = _value(keys["cron"], "", check_cron, mistakes)
    zone = _value(keys.get("zone"), "UTC", _zone, mistakes)
    backup_type = _enum(keys.get("type"), BackupType, default, mistakes)
    return ScheduleSpec(cron=cron, zone=zone, type=backup_type) if cron else None


def _window(node: yaml.Node | None, default_zone: str, mistakes: _Mistakes) -> WindowSpec | None:
    if node is None:
        return None
    keys = _mapping(node, ("start", "end", "zone"), mistakes)
    for name in ("start", "end"):
        if name not in keys:
            mistakes.add(node, f'a window needs {name}:, such as {name}: "22:00"')
            return None
    return WindowSpec(
        start=_value(keys["start"], "00:00", _clock_time, mistakes),
        end=_value(keys["end"], "00:00", _clock_time, mistakes),
        zone=_value(keys.get("zone"), default_zone, _zone, mistakes),
    )


def _retention(node: yaml.Node | None, mistakes: _Mistakes) -> RetentionSpec:
    if node is None:
        return RetentionSpec()
    keys = _mapping(node, RetentionSpec.__struct_fields__, mistakes)
    counts = {name: _value(value, 0, lambda text: _number(text, 0, 100_000), mistakes) for name, value in keys.items()}
    return RetentionSpec(**counts)


def _value(node: yaml.Node | None, default: _T, read: Callable[[str], _T], mistakes: _Mistakes) -> _T:
    if node is None:
        return default
    if not isinstance(node, yaml.ScalarNode):
        mistakes.add(node, "write a single value here")
        return default
    try:
        return read(str(node.value))
    except SkyharborError as error:
        mistakes.add(node, error.detail)
    except ValueError as error:
        mistakes.add(node, str(error))
    return default


_E = TypeVar("_E", BackupType, OnMissed)


def _enum(node: yaml.Node | None, kind: type[_E], default: _E, mistakes: _Mistakes) -> _E:
    def read(text: str) -> _E:
        if text not in list(kind):
            raise ValueError(f"{text!r} is not one of {', '.join(kind)}")
        return kind(text)

    return _value(node, default, read, mistakes)


def _number(text: str, lowest: int, highest: int) -> int:
    if not re.fullmatch(r"[+-]?\d{1,9}", text) or not lowest <= int(text) <= highest:
        raise ValueError(f"{text!r} is not a whole number between {lowest} and {highest}")
    return int(text)


def _duration(text: str) -> int:
    match = _DURATION.fullmatch(text.strip())
    if match is None or int(match[1]) * _UNITS[match[2]] > 12 * 3600:
        raise ValueError(f"{text!r} is not a duration up to 12h; write such as 10m, 90s or 2h")
    return int(match[1]) * _UNITS[match[2]]


def _clock_time(text: str) -> str:
    if not _CLOCK.fullmatch(text):
        raise ValueError(f'{text!r} is not a time of day; write it with quotes, such as "22:00"')
    return text


def _zone(text: str) -> str:
    try:
        ZoneInfo(text)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(f"{text!r} is not a time zone; write an IANA name such as Europe/Berlin") from error
    return text
