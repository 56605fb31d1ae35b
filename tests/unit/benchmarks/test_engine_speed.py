"""The time per unchanged file comes from runs that read no file again."""

from tests.benchmarks.engine import microseconds_per_unchanged_file
from tests.support.trees import Node, plant, settle


def test_every_run_after_the_first_gives_a_value(tmp_path):
    tree = plant(tmp_path / "tree", [Node(b"%d" % number, data=b"%d" % number) for number in range(20)])
    settle(tree)
    (tmp_path / "place").mkdir()
    values = microseconds_per_unchanged_file(tmp_path / "tree", tmp_path / "place", runs=2)
    assert [value > 0 for value in values] == [True, True]
