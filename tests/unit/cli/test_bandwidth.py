"""Limits as people write them, in the order in which they write them, and as they read them."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.cli.bandwidth import lines, plan, rate
from shared.errors import SkyharborError
from tests.unit.cli.world import Answer, World

MIB = 1 << 20
NO_GARBAGE = {
    "condemned_packs": 0,
    "condemned_bytes": 0,
    "expiring_points": 0,
    "unsettled": 0,
    "waits_for_writers": False,
    "last_collection": None,
}
WORKDAYS = ["mon", "tue", "wed", "thu", "fri"]
LIMITED = {
    "upload": 20 * MIB,
    "download": 0,
    "windows": [
        {"days": WORKDAYS, "start": "08:00", "end": "18:00", "zone": "Europe/Berlin", "upload": 5 * MIB,
         "download": None},
        {"days": ["sat", "sun"], "start": "00:00", "end": "00:00", "zone": "UTC", "upload": 0, "download": 12_500_000},
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "bytes_per_second"),
    [
        ("20MiB/s", 20 * MIB), ("20 MiB/s", 20 * MIB), ("20mib", 20 * MIB), ("500KB/s", 500_000), ("1.5GiB", 3 << 29),
        ("100Mbit/s", 12_500_000), ("2048B/s", 2048), ("0", 0), ("unlimited", 0), ("0KiB/s", 0),
    ],
)  # fmt: skip
def test_a_rate_is_read_in_the_unit_it_names(text: str, bytes_per_second: int) -> None:
    assert rate(text) == bytes_per_second


@pytest.mark.parametrize("text", ["", "fast", "20", "-1MiB/s", "20 parsec", "1e3MB", "MiB/s", "1" * 40 + "B", "5MiB/h"])
def test_what_is_no_rate_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(SkyharborError) as caught:
        rate(text)
    assert (caught.value.code, "20MiB/s" in str(caught.value.fields["hint"])) == ("bad-request", True)


def window(text: str) -> dict[str, Any]:
    [read] = plan([("window", text), ("upload", "1MiB/s")])["windows"]
    return {key: value for key, value in read.items() if key != "upload"}


@pytest.mark.parametrize(
    ("text", "days", "hours"),
    [
        ("mon-fri 08:00-18:00 Europe/Berlin", WORKDAYS, ("08:00", "18:00")),
        ("daily 22:00-06:00 Europe/Berlin", [*WORKDAYS, "sat", "sun"], ("22:00", "06:00")),
        ("fri-mon 00:00-24:00 Europe/Berlin", ["mon", "fri", "sat", "sun"], ("00:00", "00:00")),
        ("Sun,wed,mon-tue 08:00-18:00 Europe/Berlin", ["mon", "tue", "wed", "sun"], ("08:00", "18:00")),
        ("  mon   08:00-18:00   Europe/Berlin ", ["mon"], ("08:00", "18:00")),
    ],
)
def test_a_window_is_days_hours_and_a_zone(text: str, days: list[str], hours: tuple[str, str]) -> None:
    assert window(text) == {"days": days, "start": hours[0], "end": hours[1], "zone": "Europe/Berlin"}


@pytest.mark.parametrize(
    "text", ["", "08:00-18:00 UTC", "mon 08:00-18:00", "mon 8-18 UTC", "mo-fr 08:00-18:00 UTC", "mon- 08:00-18:00 UTC",
             "mon-fri-sun 08:00-18:00 UTC", "mon,,tue 08:00-18:00 UTC"],
)  # fmt: skip
def test_what_is_no_window_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(SkyharborError) as caught:
        window(text)
    assert (caught.value.code, "mon-fri 08:00-18:00" in str(caught.value.fields["hint"])) == ("bad-request", True)


def test_limits_belong_to_the_window_that_stands_before_them(world: World) -> None:
    world.server.on("PATCH /vaults/main", Answer(body={"name": "main", "bandwidth": LIMITED}))
    ran = world.run(
        "vault", "limit", "main",
        "--upload", "20MiB/s",
        "--window", "mon-fri 08:00-18:00 Europe/Berlin", "--upload=5MiB/s",
        "--window", "sat-sun 00:00-24:00 UTC", "--download", "100Mbit/s", "--upload", "0",
    )  # fmt: skip
    [request] = world.server.seen("PATCH /vaults/main")
    sent = {
        "upload": 20 * MIB,
        "windows": [
            {"days": WORKDAYS, "start": "08:00", "end": "18:00", "zone": "Europe/Berlin", "upload": 5 * MIB},
            {"days": ["sat", "sun"], "start": "00:00", "end": "00:00", "zone": "UTC", "download": 12_500_000,
             "upload": 0},
        ],
    }  # fmt: skip
    assert (ran.code, request.body) == (0, {"bandwidth": sent})
    assert [" ".join(line.split()) for line in ran.out.splitlines()] == [
        "vault main",
        "bandwidth upload 20.0 MiB/s, download unlimited",
        "window mon-fri 08:00-18:00 Europe/Berlin: upload 5.0 MiB/s",
        "window sat,sun 00:00-00:00 UTC: upload unlimited, download 11.9 MiB/s",
    ]


def test_none_lifts_every_limit(world: World) -> None:
    world.server.on("PATCH /vaults/main", Answer(body={"name": "main", "bandwidth": None}))
    ran = world.run("--json", "vault", "limit", "main", "--none")
    assert (ran.json, world.server.seen("PATCH /vaults/main")[0].body) == (
        {"name": "main", "bandwidth": None},
        {"bandwidth": None},
    )


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--none", "--upload", "1MiB/s"],
        ["--upload", "1MiB/s", "--upload", "2MiB/s"],
        ["--window", "daily 08:00-18:00 UTC"],
        ["--window", "daily 08:00-18:00 UTC", "--window", "daily 09:00-10:00 UTC", "--upload", "1MiB/s"],
        ["--upload", "quick"],
        ["--upload"],
    ],
)
def test_options_that_say_nothing_or_two_things_are_usage_errors(world: World, options: list[str]) -> None:
    ran = world.run("vault", "limit", "main", *options)
    assert (ran.code, world.server.requests) == (2, [])


def test_a_vault_shows_its_limits(world: World) -> None:
    vault = {"id": "v", "name": "main", "url": "file:///v", "bandwidth": LIMITED}
    world.server.on("GET /vaults/main", Answer(body=vault), Answer(body={**vault, "bandwidth": None}))
    world.server.on("GET /vaults/main/garbage", Answer(body=NO_GARBAGE))
    limited, free = world.run("vault", "show", "main").out, world.run("vault", "show", "main").out
    assert ("upload 20.0 MiB/s" in limited, limited.count("window"), "unlimited" in free) == (True, 2, True)


def test_days_are_said_in_the_shortest_way() -> None:
    def said(*days: str) -> str:
        window = {"days": list(days), "start": "00:00", "end": "01:00", "zone": "UTC", "upload": 1, "download": None}
        return lines({"upload": 0, "download": 0, "windows": [window]})[1][1].split()[0]

    assert [said(*WORKDAYS, "sat", "sun"), said("mon", "tue", "wed", "fri"), said("sat", "sun")] == [
        "daily",
        "mon-wed,fri",
        "sat,sun",
    ]
