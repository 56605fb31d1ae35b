"""What the guide tells people to type when there is no Skyharbor is typed here, to the letter."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.workloads.postgres.cluster import NOBODY, Cluster, run
from tests.workloads.postgres.conftest import Make
from tests.workloads.postgres.rig import PgRig
from tests.workloads.postgres.test_increments import OFTEN
from tests.workloads.postgres.test_places import with_tablespaces

_GUIDE = Path(__file__).parents[3] / "docs" / "guides" / "postgres.md"


def _typed(cluster: Cluster, place: str, rig: PgRig, *, chain: str, until: str) -> Cluster:
    script = re.findall(r"```sh\n(.*?)```", _GUIDE.read_text(encoding="utf-8"), re.DOTALL)[0]
    tree = os.path.join(place, "tree")
    rig.tree(tree)
    for folder, _, files in os.walk(tree):
        for name in (".", *files):
            os.chown(os.path.join(folder, name), NOBODY, NOBODY, follow_symlinks=False)
    restored = Cluster(cluster.programs, os.path.join(place, "byhand"))
    environment = {
        "PATH": f"{cluster.programs}:/usr/bin:/bin",
        "TREE": tree,
        "DATADIR": restored.data,
        "CHAIN": chain,
        "UNTIL": until,
    }
    run("sh", "-eu", "-c", "MAP='' INPUTS=''\n" + script, env=environment, cwd=place)
    return restored


@pytest.mark.skipif(os.geteuid() != 0, reason="files of the tree are given to another user, which takes root")
def test_a_base_and_its_log_come_back_by_the_commands_of_the_guide(cluster: Cluster, place: str) -> None:
    rig = PgRig(cluster.dsn)
    rig.backup()
    cluster.sql("CREATE TABLE precious AS SELECT g FROM generate_series(1, 1000) g")
    before = cluster.now()
    cluster.sql("DROP TABLE precious")
    rig.backup()
    with _typed(cluster, place, rig, chain="1", until=before) as restored:
        assert restored.start().sql("SELECT count(*) FROM precious") == [(1000,)]


@pytest.mark.skipif(os.geteuid() != 0, reason="files of the tree are given to another user, which takes root")
def test_increments_and_tablespaces_come_back_by_the_commands_of_the_guide(make: Make, place: str) -> None:
    cluster = make(18, summarize_wal="on").create().start()
    with_tablespaces(cluster, place)
    rig = PgRig(cluster.dsn)
    rig.backup()
    rig.limits = OFTEN
    for _ in range(2):
        cluster.sql("UPDATE in0 SET g = g + 1 WHERE g < 10", "CHECKPOINT")
        rig.backup()
    total = cluster.sql("SELECT sum(g) FROM in0")
    with _typed(cluster, place, rig, chain="1 2 3", until="") as restored:
        assert restored.start().sql("SELECT sum(g) FROM in0") == total
