"""Puts every question of the checker to a scene at rest.

Rule of the file: it gathers the evidence (what was promised, oracle copies, secrets); the judging is the checker's.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from pathlib import Path

import httpx

from tests.storm.checker import catalog, chain, collecting, leaves, lives, restores, slots
from tests.storm.checker.borders import trespasses
from tests.storm.checker.canaries import Canaries
from tests.storm.checker.database import Look, look
from tests.storm.checker.restores import Expected, Opened
from tests.storm.checker.violation import Violation
from tests.storm.scene import Scene
from tests.storm.watcher import Watcher


def verdict(scene: Scene, watcher: Watcher, tapped: Path) -> list[Violation]:
    """Return every violation that can be found now, and those that the watcher has found."""
    at = _now(scene)
    found = list(watcher.violations)
    with look(scene.dsn) as db:
        found += lives.unended_jobs(db, scene.book.jobs)
        found += lives.several_ends(db)
        found += lives.changed_after_end(watcher.ended, db)
        found += lives.unsettled_fires(db, at=at)
        found += lives.doubled_fires(db)
        for source in scene.sources.values():
            if source.scheduled:
                found += lives.missing_minutes(db, source.item, at=at)
        found += catalog.points_of_jobs(db)
        found += catalog.disagreements(db, scene.vaults)
        for question in collecting.AT_REST:
            found += question(db)
        found += collecting.manifests(db, scene.vaults)
        found += chain.broken_links(db)
        found += chain.forgotten_lines(db)
        found += chain.lost_lines(db, watcher.lines)
        found += _secrets(scene, db, tapped)
        found += _restores(scene, db)
    with scene.database() as connection:
        sample = slots.take_sample(connection)
    found += slots.judge(sample) + slots.judge_idle(sample)
    return found + _borders(scene)


def _now(scene: Scene) -> datetime:
    """A moment before the loops stopped: fires due later were nobody's duty any more."""
    ((at,),) = scene.sql("SELECT clock_timestamp() - interval '10 s'")
    assert isinstance(at, datetime)
    return at


def _secrets(scene: Scene, db: Look, tapped: Path) -> list[Violation]:
    canaries = Canaries(scene.secrets())
    found = canaries.in_tables(db)
    found += canaries.in_files([tapped], "the broker's traffic")
    found += canaries.in_files((scene.stack.home / "valkey").rglob("*"), "the broker's file")
    found += canaries.in_files((scene.stack.home / "logs").rglob("*"), "log")
    for name, folder in scene.vaults.items():
        found += canaries.in_files(folder.rglob("*"), f"vault {name}, object")
    return found


def _restores(scene: Scene, db: Look) -> list[Violation]:
    points = db.rows(
        "SELECT p.id, p.job_id, p.state, p.doomed_at IS NULL AS whole, i.name AS item, m.name AS machine,"
        " v.name AS vault FROM recovery_point p"
        " JOIN item i ON i.id = p.item_id JOIN machine m ON m.id = p.machine_id JOIN vault v ON v.id = p.vault_id"
        " ORDER BY p.id"
    )
    found = [
        Violation("I6", f"point {row['id']} is {row['state']}", row) for row in points if row["state"] == "damaged"
    ]
    expected: dict[str, Expected] = {}
    groups: defaultdict[tuple[str, str], list[Expected]] = defaultdict(list)
    for row in points:
        source = scene.sources[row["item"]]
        oracle = source.copy(scene.version_of(row["job_id"], row["item"]))
        expected[row["id"]] = Expected(row["id"], source.tree, oracle)
        if row["whole"]:
            groups[row["vault"], row["machine"]].append(expected[row["id"]])
    for (vault, machine), group in groups.items():
        opened = Opened(scene.vaults[vault], machine, scene.passphrase_file(machine))
        place = scene.folder / "read" / f"{vault}-{machine}"
        place.mkdir(parents=True)
        found += restores.unlike_oracle(opened, group, place)
        found += leaves.unasked(db, leaves.seals(place, opened.vault, [point.point for point in group]))
    for row in db.rows("SELECT id, point_id, target FROM job WHERE kind = 'restore' AND state = 'completed'"):
        found += restores.unlike(expected[row["point_id"]], Path(row["target"]), by=f"restore job {row['id']}")
    scene.book.points = sum(row["whole"] for row in points)
    scene.book.expired = sum(row["state"] == "expired" for row in points)
    return found


def _borders(scene: Scene) -> list[Violation]:
    tokens = {"operator": scene.stack.token("token"), "worker": scene.stack.token("worker.token")}
    with httpx.Client(base_url=scene.stack.url, timeout=20, trust_env=False) as http:
        scene.book.knocks, found = trespasses(http, tokens)
    return found
