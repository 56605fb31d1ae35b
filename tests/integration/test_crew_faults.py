"""Whatever happens to processes of a crew, the unit says so, the next attempt is whole and nobody is left behind."""

import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from shared.contracts.sources import FilesSource
from shared.errors import REGISTRY, SkyharborError
from shared.model.backup import ConflictRule
from shared.vault.entry import EntryKind
from tests.support.compare import differences
from tests.support.crews import Bench, chiefs, ended, hands, left, running_chief, scanned
from tests.support.held import reading_of
from tests.support.small_disk import NoDisk, small_disk
from tests.support.trees import Node, plant, settle
from tests.support.uncontrolled import Uncontrolled
from tests.unit.engine.rig import Recorder
from workers.engine.ports import Stop
from workers.engine.reading import RANGE
from workers.engine.verify import verify_point

MIB = 1024 * 1024


@pytest.fixture
def chief():
    with running_chief() as chief:
        chief.start()
        yield chief
    assert chiefs() == []


@pytest.fixture
def bench(tmp_path, chief):
    return Bench(tmp_path / "vault", "processes", chief)


@pytest.fixture
def tree(tmp_path_factory):
    """Enough for several batches and packs, all of it new."""
    place = tmp_path_factory.mktemp("source")
    made = random.Random(7)
    nodes = [Node(b"%04d" % number, data=made.randbytes(900 + number % 90)) for number in range(1500)]
    large = [Node(b"large-%d" % number, data=made.randbytes(3 * MIB)) for number in range(16)]
    path = plant(place, [*nodes, *large])
    settle(path)
    return path


def at(turn, act):
    """Return a hook that acts at one turn."""
    return lambda number: act() if number == turn else None


def files_of(tree):
    return FilesSource(paths=(tree,), excludes=())


def kill_a_hand():
    os.kill(hands()[0], signal.SIGKILL)


def code_of(call):
    with pytest.raises(SkyharborError) as caught:
        call()
    return caught.value.code


def is_whole(bench, tree, out):
    """The last point restores to what the tree is, and everything it names is in the vault and right."""
    assert verify_point(bench.rig.reader(), full=True, control=Uncontrolled()).warnings == ()
    assert bench.restore(out).warnings == ()
    return differences(tree, f"{out}{tree}", ignore=["holes"]) == []


# ── processes that are killed ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("turn", [1, 4, 9])
def test_a_killed_hand_fails_the_unit_and_the_next_attempt_is_whole(bench, tree, tmp_path, turn):
    assert code_of(lambda: bench.backup(tree, on_reserve=at(turn, kill_a_hand))) == "hand-lost"
    assert (bench.rig.points(), left(), len(chiefs())) == ([], [], 1)
    bench.backup(tree)
    assert is_whole(bench, tree, tmp_path / "out")


def test_a_hand_killed_between_its_last_call_and_the_flush_is_noticed(bench, tree):
    files = [entry for entry in scanned(tree) if entry.kind == EntryKind.FILE]
    writer = bench.writer()
    crew = bench.readers(files_of(tree))(writer)
    crew.read(files[:300]).result()
    lost = hands()
    kill_a_hand()
    assert ended(lost) == []
    assert {code_of(call.result) for call in crew.flush()} == {"hand-lost"}
    crew.stop()
    writer.abort()


def test_a_lost_hand_is_something_to_try_again():
    assert REGISTRY["hand-lost"].retryable


def test_a_hand_killed_while_it_restores_fails_the_unit_and_the_next_one_completes_it(bench, tree, tmp_path):
    bench.backup(tree)

    class KillThemWhenSomeFilesAreThere(Recorder):
        def check(self):
            if self.positions:
                for hand in hands():
                    os.kill(hand, signal.SIGKILL)

    assert code_of(lambda: bench.restore(tmp_path / "out", control=KillThemWhenSomeFilesAreThere())) == "hand-lost"
    assert left() == []
    out = Path(f"{tmp_path}/out{tree}")
    assert all((out / name).read_bytes() == Path(tree, name).read_bytes() for name in os.listdir(out))
    bench.restore(tmp_path / "out", conflict=ConflictRule.OVERWRITE)
    assert differences(tree, str(out), ignore=["holes"]) == []


def test_after_a_killed_chief_the_unit_under_way_ends_well_and_the_next_has_a_new_one(bench, tree, tmp_path):
    (first,) = chiefs()
    bench.backup(tree, on_reserve=at(5, lambda: os.kill(first, signal.SIGKILL)))
    assert is_whole(bench, tree, tmp_path / "out")
    assert (len(chiefs()), first in chiefs()) == (1, False)


def test_a_chief_that_does_not_listen_is_replaced_when_it_is_closed(bench, tree):
    (first,) = chiefs()
    os.kill(first, signal.SIGSTOP)
    os.kill(first, signal.SIGKILL)
    os.waitid(os.P_PID, first, os.WEXITED | os.WNOWAIT)  # until then its socket still takes what nobody will read
    bench.backup(tree)
    assert first not in chiefs()


_WORKER = """
import sys
from shared.crypto.domain_keys import DomainKeys
from shared.storage.local import LocalStore
from shared.vault.vault import open_vault
from tests.support.crews import Bench, chiefs, hands, running_chief
from tests.unit.engine.rig import Rig

def say(_):
    print(*chiefs(), *hands(), flush=True)
    sys.stdin.read()

with running_chief() as chief:
    rig = Rig.__new__(Rig)
    rig.store = LocalStore(sys.argv[1])
    rig.vault, rig.keys = open_vault(rig.store), DomainKeys.derive(b"k" * 32)
    bench = Bench(sys.argv[1], "processes", chief, rig=rig)
    bench.backup(sys.argv[2], on_reserve=say)
"""


def test_when_the_worker_is_killed_its_chief_and_hands_end_by_themselves(bench, tree):
    program = [sys.executable, "-c", _WORKER, bench.url.removeprefix("file://"), tree]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as worker:
        family = [int(pid) for pid in worker.stdout.readline().split()]
        worker.send_signal(signal.SIGKILL)
        worker.communicate()
    assert (len(family) >= 2, ended(family, within=10.0)) == (True, [])
    assert bench.rig.points() == []


# ── processes that do not move ───────────────────────────────────────────────────────────────────────


class StopWhen(Recorder):
    """Cancels once something has happened."""

    def __init__(self, event):
        super().__init__()
        self._event = event

    def check(self):
        if self._event.is_set():
            raise Stop(self.reason)


def test_a_unit_whose_hand_was_stopped_can_be_cancelled_and_the_hand_is_ended(bench, tree):
    stopped, lost = threading.Event(), []

    def stop_it():
        lost.extend(hands())
        for hand in lost:
            os.kill(hand, signal.SIGSTOP)
        stopped.set()

    with pytest.raises(Stop):
        bench.backup(tree, on_reserve=at(3, stop_it), control=StopWhen(stopped))
    assert (ended(lost), bench.rig.points()) == ([], [])


def test_more_than_a_line_holds_can_be_asked_of_a_hand_that_does_not_listen(bench, tree):
    """Or the thread that would hear of a cancel would wait for the hand."""
    entries = [entry for entry in scanned(tree) if entry.kind == EntryKind.FILE]
    writer = bench.writer()
    crew = bench.readers(files_of(tree))(writer)
    crew.read(entries[:1]).result()
    for hand in hands():
        os.kill(hand, signal.SIGSTOP)
    calls = [crew.read(entries) for _ in range(40)]
    assert not any(call.done() for call in calls[:2])
    crew.stop()
    writer.abort()
    assert {code_of(call.result) for call in calls[:2]} == {"hand-lost"}
    assert left() == []


def test_a_hand_that_goes_on_after_it_was_stopped_finishes_the_unit(bench, tree, tmp_path):
    def pause():
        for hand in hands():
            os.kill(hand, signal.SIGSTOP)
        for hand in hands():
            threading.Timer(0.2, os.kill, [hand, signal.SIGCONT]).start()

    bench.backup(tree, on_reserve=at(3, pause))
    assert is_whole(bench, tree, tmp_path / "out")


def test_a_cancelled_read_of_a_gibibyte_ends_long_before_its_end(bench, tmp_path_factory):
    tree = str(tmp_path_factory.mktemp("source"))
    with open(f"{tree}/disk", "wb") as file:
        for offset in range(0, 1024 * MIB, 64 * MIB):
            file.seek(offset)
            file.write(random.Random(offset).randbytes(8 * MIB))
        file.truncate(1024 * MIB)
    begun = threading.Event()
    with pytest.raises(Stop):
        bench.backup(tree, on_reserve=at(2, begun.set), control=StopWhen(begun))
    stored = sum(one.size for one in bench.rig.store.list())
    assert (stored < 64 * MIB, left(), bench.rig.points()) == (True, [], [])  # there are 128 MiB of data


# ── what hands cannot do ─────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def disk(tmp_path):
    try:
        with small_disk(str(tmp_path / "disk"), 24 * MIB) as disk:
            yield Path(disk.path)
    except NoDisk as problem:
        pytest.skip(f"a small file system needs the right to mount tmpfs: {problem}")


def test_a_store_that_is_full_in_a_hand_is_store_full_in_the_outcome(chief, tree, disk):
    bench = Bench(disk / "vault", "processes", chief)
    assert code_of(lambda: bench.backup(tree)) == "store-full"
    assert (bench.rig.points(), left(), os.listdir(disk / "vault" / "tmp")) == ([], [], [])


def test_a_store_that_is_gone_is_store_unreachable(bench, tree, tmp_path):
    writer = bench.writer()
    crew = bench.readers(files_of(tree), vault_url=f"file://{tmp_path}/nowhere")(writer)
    calls = [crew.read(scanned(tree)), *crew.flush()]
    assert "store-unreachable" in {call.exception() and call.exception().code for call in calls}
    crew.stop()
    writer.abort()


def test_hands_with_another_key_restore_nothing_and_say_what_they_met(bench, tree, tmp_path):
    bench.backup(tree)
    reader = bench.rig.reader()
    muster = bench.writers(reader, dek=b"z" * 32)
    done = bench.rig.restore(tmp_path / "out", muster=muster)
    assert ({notice.code for notice in done.warnings}, done.stats.files_restored) == ({"damaged"}, 0)
    assert os.listdir(f"{tmp_path}/out{tree}") == []


@pytest.mark.parametrize(
    ("work", "code", "words"),
    [
        ({"dek": b"short"}, "internal", "ValueError: a DEK has 32 bytes"),
        ({"vault_url": "ftp://nowhere"}, "store-url-invalid", "no backend"),
        ({"reading": reading_of(FilesSource(paths=("relative",)))}, "source-missing", "absolute"),
    ],
)
def test_a_hand_that_cannot_begin_says_why(bench, tree, work, code, words):
    writer = bench.writer()
    crew = bench.readers(files_of(tree), **work)(writer)
    calls = [crew.read(scanned(tree)) for _ in range(3)]
    for call in calls:
        with pytest.raises(SkyharborError) as caught:
            call.result()
        assert (caught.value.code, words in caught.value.detail) == (code, True)
    crew.stop()
    writer.abort()


def test_a_target_replaced_after_a_restore_has_opened_it_gets_nothing_of_what_hands_write(bench, tree, tmp_path):
    bench.backup(tree)
    bring = bench.writers(bench.rig.reader())

    def swapping(finder, target, node):
        os.rename(target, f"{tmp_path}/real")
        os.mkdir(target)
        return bring(finder, target, node)

    assert code_of(lambda: bench.rig.restore(tmp_path / "out", muster=swapping)) == "target-invalid"
    assert os.listdir(tmp_path / "out") == []


def test_any_exception_in_a_hand_is_internal_with_its_words(bench, tree):
    writer = bench.writer()
    crew = bench.readers(files_of(tree))(writer)
    (entry,) = [entry for entry in scanned(tree) if entry.path.endswith(b"/0001")]
    entry.path += b"\0"  # no file has such a name
    with pytest.raises(SkyharborError) as caught:
        crew.read([entry]).result()
    assert (caught.value.code, caught.value.detail) == ("internal", "ValueError: open: embedded null character in path")
    crew.stop()
    writer.abort()


# ── many units ───────────────────────────────────────────────────────────────────────────────────────


def test_two_units_at_once_share_one_chief(bench, tree, tmp_path, chief):
    other = Bench(tmp_path / "other-vault", "processes", chief)
    both = threading.Barrier(2)
    seen = []

    def meet():
        both.wait(60)
        seen.append((chiefs(), len(hands())))
        both.wait(60)

    units = [
        threading.Thread(target=unit.backup, args=(tree,), kwargs={"on_reserve": at(1, meet)})
        for unit in (bench, other)
    ]
    for unit in units:
        unit.start()
    for unit in units:
        unit.join()
    assert ({len(found) for found, _ in seen}, min(count for _, count in seen) >= 2) == ({1}, True)
    assert is_whole(bench, tree, tmp_path / "out")
    assert is_whole(other, tree, tmp_path / "other-out")


def test_fifty_units_leak_neither_descriptors_nor_threads_nor_processes(bench, tmp_path_factory):
    tree = plant(tmp_path_factory.mktemp("source"), [Node(b"%d" % n, data=b"%d" % n * 100) for n in range(20)])

    def turn(number):
        Path(tree, "new").write_text(str(number))
        bench.backup(tree)
        bench.restore(tmp_path_factory.mktemp("out"))

    turn(0)
    (chief,) = chiefs()
    before = held(os.getpid()), held(chief), threading.active_count()
    for number in range(1, 51):
        turn(number)
    assert (held(os.getpid()), held(chief), threading.active_count()) == before
    assert (left(), chiefs()) == ([], [chief])


def held(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def test_a_chief_has_one_thread_so_that_it_may_fork(bench, tree):
    (chief,) = chiefs()
    seen = []
    bench.backup(tree, on_reserve=at(3, lambda: seen.append(os.listdir(f"/proc/{chief}/task"))))
    assert seen == [[str(chief)]]


def test_a_hand_holds_no_line_of_another_one(bench, tree):
    """Or the death of one would go unnoticed as long as the other lives."""
    writer = bench.writer()
    crew = bench.readers(files_of(tree))(writer)
    calls = [crew.read(scanned(tree)) for _ in range(4)]
    for call in calls:
        call.result()
    lines = [sockets(hand) for hand in hands()]
    crew.stop()
    writer.abort()
    assert [len(line) for line in lines] == [1, 1]


def sockets(pid):
    links = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
    return [link for link in links if link.startswith("socket:")]


def test_a_range_of_a_file_that_is_gone_fails_its_call_alone(bench, tree):
    writer = bench.writer()
    crew = bench.readers(files_of(tree))(writer)
    entries = [entry for entry in scanned(tree) if entry.kind == EntryKind.FILE]
    os.unlink(f"{tree}/0000")
    lost = crew.read_range(entries[0], 0, RANGE)
    assert [notice.code for notice in [lost.exception().notice]] == ["vanished"]
    assert crew.read(entries[1:20]).result().notices == []
    crew.stop()
    writer.abort()
