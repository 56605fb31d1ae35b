"""A backup or restore that is killed leaves nothing that a later reader could take for whole."""

import os
import signal
import subprocess
import sys

import pytest

from shared.errors import SkyharborError
from shared.model.backup import ConflictRule
from shared.storage.faulty import Fault, FaultKind, FaultyStore, Verb
from shared.storage.local import LocalStore
from shared.storage.memory import MemoryStore
from tests.support.compare import differences
from tests.support.trees import Node, nasty, plant
from tests.unit.engine.rig import Rig

_BACKUP = """
import sys
from shared.crypto.domain_keys import DomainKeys
from shared.storage.local import LocalStore
from shared.vault.vault import open_vault
from tests.unit.engine.rig import Recorder, Rig

class Telling(Recorder):
    def progress(self, progress):
        print(progress.phase, flush=True)

    def commit(self):
        print("commit", flush=True)
        sys.stdin.read()

rig = Rig.__new__(Rig)
rig.store = LocalStore(sys.argv[1])
rig.vault, rig.keys = open_vault(rig.store), DomainKeys.derive(b"k" * 32)
rig.backup(sys.argv[2], control=Telling())
"""


@pytest.mark.parametrize("moment", ["reading", "commit"])
def test_a_backup_killed_at_any_moment_leaves_no_point_and_the_next_one_is_whole(tmp_path, moment):
    tree = plant(tmp_path / "tree", nasty())
    rig = Rig(LocalStore.create(str(tmp_path / "vault")))
    program = [sys.executable, "-c", _BACKUP, str(tmp_path / "vault"), tree]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        for line in child.stdout:
            if line.strip() == moment:
                break
        child.send_signal(signal.SIGKILL)
        child.communicate()
    assert rig.points() == []
    rig.backup(tree)
    rig.restore(tmp_path / "out")
    assert differences(tree, f"{tmp_path}/out{tree}") == []


@pytest.mark.parametrize("kind", [FaultKind.FAIL, FaultKind.CRASH])
@pytest.mark.parametrize("number", range(1, 5))
def test_a_store_that_fails_at_any_put_fails_the_backup_and_keeps_the_earlier_point(tmp_path, number, kind):
    tree = plant(tmp_path / "tree", [Node(b"f", data=b"first")])
    inner = MemoryStore()
    rig = Rig(inner)
    rig.backup(tree)
    with open(f"{tree}/f", "wb") as file:
        file.write(os.urandom(100))
    sound = rig.vault
    rig.vault = type(sound)(
        store=FaultyStore(inner, [Fault(verb=Verb.PUT, nth=number, kind=kind)]),
        header=sound.header,
        clock=sound.clock,
    )
    with pytest.raises(SkyharborError) as caught:
        rig.backup(tree)
    assert caught.value.code == "store-unreachable"
    rig.vault = sound
    assert len(rig.points()) == 1
    assert rig.restore(tmp_path / "out", conflict=ConflictRule.OVERWRITE).warnings == ()
    with open(f"{tmp_path}/out{tree}/f", "rb") as file:
        assert file.read() == b"first"


_RESTORE = """
import sys
from shared.crypto.domain_keys import DomainKeys
from shared.storage.local import LocalStore
from shared.vault.vault import open_vault
from tests.unit.engine.rig import Recorder, Rig

class Telling(Recorder):
    def progress(self, progress):
        print(progress.files_done, flush=True)
        sys.stdin.read()

rig = Rig.__new__(Rig)
rig.store = LocalStore(sys.argv[1])
rig.vault, rig.keys = open_vault(rig.store), DomainKeys.derive(b"k" * 32)
rig.restore(sys.argv[2], control=Telling())
"""


def test_a_restore_killed_half_way_left_whole_files_only_and_the_next_run_completes_it(tmp_path):
    # More than all calls under way can write while the thread that asks for them waits to be killed.
    tree = plant(tmp_path / "tree", [Node(b"%04d" % n, data=b"%d" % n * 5000) for n in range(3000)])
    rig = Rig(LocalStore.create(str(tmp_path / "vault")))
    rig.backup(tree)
    program = [sys.executable, "-c", _RESTORE, str(tmp_path / "vault"), str(tmp_path / "out")]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        child.stdout.readline()
        child.send_signal(signal.SIGKILL)
        child.communicate()
    done = os.listdir(f"{tmp_path}/out{tree}")
    assert all(os.path.getsize(f"{tmp_path}/out{tree}/{name}") == os.path.getsize(f"{tree}/{name}") for name in done)
    again = rig.restore(tmp_path / "out", conflict=ConflictRule.OVERWRITE)
    assert 0 < len(done) == again.stats.files_skipped < 3000
    assert differences(tree, f"{tmp_path}/out{tree}") == []
