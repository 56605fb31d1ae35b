"""Costs count every process that worked, and nothing that was started outlives its measurement."""

import os
import signal
import subprocess
import sys

import pytest

from tests.benchmarks.measure import clock, weigh
from tests.benchmarks.processes import cpu_of_tree, descendants, memory_of_tree, tree_of
from tests.benchmarks.work import Work, WorkFailed, run, started

MIB = 1 << 20
BURN = "import time\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass"
HOLD = f"import sys\nheld = b'x' * {64 * MIB}\nprint(flush=True)\nsys.stdin.read()"


def test_descendants_are_children_and_theirs_and_nobody_else():
    assert descendants(1, {1: 0, 2: 1, 3: 2, 4: 0, 5: 4, 6: 1}) == [1, 2, 6, 3]


def test_a_tree_that_is_gone_is_empty_and_costs_nothing():
    ended = subprocess.Popen(["true"])
    ended.wait()
    assert (tree_of(ended.pid), cpu_of_tree(ended.pid), memory_of_tree(ended.pid)) == ([], 0, 0)


def test_memory_counts_the_children_of_a_process():
    with subprocess.Popen(
        ["sh", "-c", f'"{sys.executable}" -c "{HOLD}"; true'], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as shell:
        assert shell.stdin is not None
        assert shell.stdout is not None
        shell.stdout.readline()
        assert len(tree_of(shell.pid)) == 2
        assert 64 * MIB < memory_of_tree(shell.pid) < 128 * MIB
        shell.stdin.close()


def test_cpu_of_children_counts_for_a_command():
    sample = clock(Work(("sh", "-c", f'"{sys.executable}" -c "{BURN}"; true')), limit=60)
    assert sample.cpu is not None
    assert 0.3 <= sample.cpu < 3
    assert sample.value >= sample.cpu / (os.cpu_count() or 1)


def test_cpu_of_the_processes_behind_a_client_counts_for_it(tmp_path):
    os.mkfifo(tmp_path / "ask")
    os.mkfifo(tmp_path / "answer")
    serve = f"import sys\nopen('ask').read()\n{BURN}\nopen('answer', 'w').close()\nsys.stdin.read()"
    server = subprocess.Popen([sys.executable, "-c", serve], stdin=subprocess.PIPE, cwd=tmp_path)
    with server:
        work = Work(("sh", "-c", "echo > ask; cat answer"), cwd=str(tmp_path), behind=server.pid)
        sample = clock(work, limit=60)
    assert sample.cpu is not None
    assert sample.cpu >= 0.25


def test_a_peak_is_seen_though_it_is_over_at_the_end():
    code = f"import time\nheld = b'x' * {64 * MIB}\ntime.sleep(0.5)\ndel held\ntime.sleep(0.3)"
    assert weigh(Work((sys.executable, "-c", code)), limit=60).value > 64 * MIB


def test_memory_of_whoever_carries_the_data_is_weighed_instead_of_the_client():
    with subprocess.Popen([sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as carrier:
        assert carrier.stdin is not None
        assert carrier.stdout is not None
        carrier.stdout.readline()
        assert weigh(Work(("true",), carries=carrier.pid), limit=60).value > 64 * MIB
        carrier.stdin.close()


@pytest.mark.parametrize("measure", [clock, weigh])
def test_a_command_that_takes_too_long_is_ended_with_its_children(measure, tmp_path):
    os.mkfifo(tmp_path / "alive")
    alive = os.open(tmp_path / "alive", os.O_RDONLY | os.O_NONBLOCK)
    sample = measure(Work(("sh", "-c", "exec 3>alive; sleep 1000 & sleep 1000"), cwd=str(tmp_path)), limit=0.5)
    os.set_blocking(alive, True)
    assert (sample.cut_off, os.read(alive, 1)) == (True, b"")  # the end of the file: nobody holds it open any more
    os.close(alive)


@pytest.mark.parametrize("measure", [clock, weigh])
def test_a_command_that_fails_fails_the_measurement_with_its_last_words(measure):
    with pytest.raises(WorkFailed, match=r"\(3\): so it is"):
        measure(Work(("sh", "-c", "echo so it is >&2; exit 3")), limit=60)


@pytest.fixture
def hears_interruptions():
    """A shell starts background jobs deaf to them, and so this process may be."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("hears_interruptions")
def test_an_interruption_ends_the_command(tmp_path):
    os.mkfifo(tmp_path / "go")
    work = Work(("sh", "-c", "cat go; kill -INT $PPID; sleep 1000"), cwd=str(tmp_path))
    pids = []
    with pytest.raises(KeyboardInterrupt), started(work) as running:  # noqa: PT012 - the interruption comes from outside
        pids.append(running.pid)
        (tmp_path / "go").write_text("now")
        running.finish(limit=60)
    assert tree_of(pids[0]) == []


def test_commands_that_are_not_measured_must_succeed_too():
    with pytest.raises(WorkFailed):
        run("false")
