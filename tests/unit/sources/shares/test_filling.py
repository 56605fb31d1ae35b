"""Bytes of a point go to their places between the holes, and what is no file's is said."""

import pytest

from shared.errors import SkyharborError
from shared.vault.entry import Entry
from workers.sources.shares.filling import placed


def _entry(size, holes=()):
    return Entry(b"file", 1, 0o644, 0, 0, size, 0, 0, 0, 0, holes=holes)


def _placed(entry, *chunks, most=100):
    return [(at, bytes(data)) for at, data in placed(entry, map(memoryview, chunks), most=most)]


def test_data_goes_between_the_holes_in_pieces():
    entry = _entry(20, holes=((0, 4), (8, 6)))
    assert _placed(entry, b"ab", b"cdefghij", most=3) == [(4, b"ab"), (6, b"cd"), (14, b"efg"), (17, b"hij")]


@pytest.mark.parametrize("chunks", [(b"123",), (b"12345",), ()])
def test_content_that_is_not_as_long_as_the_file_is_damaged(chunks):
    with pytest.raises(SkyharborError) as caught:
        _placed(_entry(4), *chunks)
    assert caught.value.code == "object-damaged"
