"""Who may only read changes nothing."""

from __future__ import annotations

import pytest

from shared.errors import SkyharborError
from shared.storage.memory import MemoryStore
from shared.storage.read_only import ReadOnlyStore


def test_put_and_delete_are_refused_and_nothing_is_changed() -> None:
    inner = MemoryStore()
    inner.put("a", [b"x"])
    store = ReadOnlyStore(inner)
    codes = []
    for call in (lambda: store.put("b", [b"x"]), lambda: store.put("a", [b"x"]), lambda: store.delete("a")):
        with pytest.raises(SkyharborError) as caught:
            call()
        codes.append(caught.value.code)
    assert codes == ["store-read-only"] * 3
    assert [(info.name, inner.get(info.name)) for info in inner.list()] == [("a", b"x")]
