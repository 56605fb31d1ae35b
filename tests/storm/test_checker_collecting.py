"""A checker that cannot fail is a defect: what a collector may never do is planted, and has to be found.

Rule of the file: as in ``test_checker_tables``: a sound tower first, then one thing is broken past every guard.
"""

# ruff: noqa: S608 - nothing of anybody is pasted

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from sqlalchemy.engine import make_url

from orchestrator.domain.policy import RetentionSpec
from tests.storm.checker import collecting
from tests.storm.checker.database import Look, look
from tests.storm.checker.violation import Violation
from tests.support.collecting import collector, expire
from tests.support.control import ControlPlane
from tests.support.postgres import database_url, postgres_server  # noqa: F401 - fixtures


class Tower:
    """A point expired, one doomed, one expiring, one sealed; packs condemned and doomed; a backup under way."""

    def __init__(self, url: str) -> None:
        self.plane = plane = ControlPlane(url)
        parts = make_url(url)
        self.dsn = make_conninfo(
            host=str(parts.query["host"]),
            port=5432,
            user=parts.username,
            password=parts.password,
            dbname=parts.database,
        )
        plane.machine()
        plane.vault()
        plane.item(retention=RetentionSpec(last=1))
        first = plane.run().point_id
        plane.run()
        expire(plane)
        collect = collector(plane)
        assert collect.doomed_ids() == [first]
        collect.expired(first)
        plane.run()
        expire(plane)
        assert len(collect.doomed_ids()) == 1
        collect.condemn("packs/d/doomed", "packs/d/condemned")
        assert collect.doom("packs/d/doomed") == ("packs/d/doomed",)
        plane.run()
        expire(plane)
        collect.end()
        self.running = plane.start().fence.job_id

    def plant(self, *statements: str) -> None:
        """Change what nothing may change."""
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute("SET session_replication_role = replica")
            for statement in statements:
                connection.execute(statement)

    def ask(self, *questions: Callable[[Look], list[Violation]]) -> list[str]:
        """Return what the questions find, in words."""
        with look(self.dsn) as db:
            return [str(violation) for question in questions for violation in question(db)]


@pytest.fixture
def tower(database_url: str) -> Iterator[Tower]:  # noqa: F811
    tower = Tower(database_url)
    yield tower
    tower.plane.close()


NO_GUARD = (
    "ALTER TABLE recovery_point DROP CONSTRAINT expiring_or_expired, DROP CONSTRAINT doomed_then_expired,"
    " DROP CONSTRAINT expiring_then_doomed, DROP CONSTRAINT expiry_is_whole"
)

PLANTS = {
    "a writer that never registered": ("UPDATE unit SET generation = NULL", "is doomed while job"),
    "a writer older than a doomed pack": ("UPDATE unit SET generation = 2", "pack packs/d/doomed is doomed while"),
    "a job that may be sealing and belongs to nobody": (
        "UPDATE unit SET generation = 1, claim_id = NULL, session = NULL, lease_expires_at = NULL;"
        " UPDATE job SET state = 'available', committing_at = now() WHERE state = 'running'",
        "is doomed while job",
    ),
    "a job that may have sealed and was never settled": (
        "UPDATE unit SET generation = 1, claim_id = NULL, session = NULL, lease_expires_at = NULL;"
        " UPDATE job SET state = 'discarded', finished_at = now(), committing_at = now() WHERE state = 'running'",
        "is doomed while job",
    ),
    "a restore of a doomed point": (
        "UPDATE job SET kind = 'restore', point_id ="
        " (SELECT id FROM recovery_point WHERE doomed_at IS NOT NULL LIMIT 1) WHERE state = 'running'",
        "(restore) reads it",
    ),
    "a generation that went back": ("UPDATE vault_generation SET generation = 1", "the vault's generation is 1"),
    "a pack that was forgotten": ("DELETE FROM condemned_pack WHERE doomed_at IS NULL", "counted are 2"),
    "a point that came back": (
        f"{NO_GUARD}; UPDATE recovery_point SET state = 'sealed' WHERE state = 'expired'",
        "although it was doomed",
    ),
    "a point that expired without a word": (
        f"{NO_GUARD}; UPDATE recovery_point SET state = 'expired', expired_at = now()"
        " WHERE state = 'expiring' AND doomed_at IS NULL",
        "the audit log tells ['expire']",
    ),
    "an item that lost its last point": (
        f"{NO_GUARD}; UPDATE recovery_point SET state = 'expiring' WHERE state = 'sealed'",
        "none is kept",
    ),
}


def test_a_sound_tower_has_no_violation(tower: Tower) -> None:
    assert tower.ask(*collecting.AT_REST) == []


@pytest.mark.parametrize("name", PLANTS)
def test_what_is_planted_is_found(tower: Tower, name: str) -> None:
    statements, said = PLANTS[name]
    tower.plant(*statements.split(";"))
    found = tower.ask(*collecting.AT_REST)
    assert any(said in line for line in found), found


def test_a_manifest_that_is_gone_too_early_or_stays_too_long_is_found(tower: Tower, tmp_path: Path) -> None:
    manifests = tower.plane.sql("SELECT manifest, state, doomed_at IS NULL FROM recovery_point")
    for manifest, state, _ in manifests:
        if state != "expired":
            (tmp_path / str(manifest)).parent.mkdir(exist_ok=True)
            (tmp_path / str(manifest)).touch()

    def found() -> list[str]:
        return tower.ask(lambda db: collecting.manifests(db, {"v1": tmp_path}))

    assert found() == []
    for manifest, state, undoomed in manifests:
        if state == "expiring" and not undoomed:
            (tmp_path / str(manifest)).unlink()  # may be gone
    assert found() == []
    for manifest, state, undoomed in manifests:
        if state == "expired":
            (tmp_path / str(manifest)).touch()
        elif undoomed:
            (tmp_path / str(manifest)).unlink()
    assert sorted(line.rpartition(", ")[2] for line in found())[-1].endswith("no manifest")
    assert len(found()) == 3
