"""What ``item add postgres`` and the restore of a cluster send."""

from __future__ import annotations

import os

from tests.unit.cli.jobs import a_job
from tests.unit.cli.world import Answer, World

_ADD = ("item", "add", "postgres", "db", "--machine", "m", "--vault", "v", "--dsn", "host=db user=keeper")


def test_a_cluster_is_described_without_a_secret(world: World) -> None:
    world.server.on("POST /items", Answer(201, {"name": "db"}))
    world.run(*_ADD, "--credentials-file", "keys", "--dump", "shop", "--dump", "*")
    body = world.server.seen("POST /items")[0].body
    assert (body["workload"], body["source"]) == (
        "postgres",
        {
            "dsn": "host=db user=keeper",
            "credentials_file": f"{os.getcwd()}/keys",
            "dumps": ["shop", "*"],
            "physical": True,
        },
    )


def test_dumps_alone_are_asked_for_by_name(world: World) -> None:
    world.server.on("POST /items", Answer(201, {"name": "db"}))
    world.run(*_ADD, "--dumps-only", "--dump", "shop")
    assert world.server.seen("POST /items")[0].body["source"] == {
        "dsn": "host=db user=keeper",
        "credentials_file": "",
        "dumps": ["shop"],
        "physical": False,
    }


def test_the_moment_the_owner_and_the_places_of_tablespaces_travel_with_a_restore(world: World) -> None:
    world.server.on("POST /jobs", Answer(202, a_job(kind="restore")))
    world.run(
        *("restore", "latest", "--item", "db", "--to", "/srv/data", "--until", "before the release"),
        *("--owner", "postgres", "--tablespace", "/old=/new", "--tablespace", "16400=/newer"),
    )
    assert world.server.seen("POST /jobs")[0].body["options"] == {
        "until": "before the release",
        "owner": "postgres",
        "tablespaces": "/old=/new\n16400=/newer",
    }
