"""Documents that are made from the code are those of this code."""

from __future__ import annotations

from tools.state_machines import PLACE, document


def test_the_document_of_the_states_is_made_from_the_present_table() -> None:
    assert PLACE.read_text(encoding="utf-8") == document(), "run: python -m tools.state_machines"
