"""A server that lies, dies or dawdles gives an error, and never wrong bytes."""

import pytest

from tests.unit.sources.vm.liar import SIZE, chunk, data, extents, lying
from workers.sources.vm.nbd import ALLOCATION, Extent, NbdClient, NbdError

LENGTH = 64 * 1024
ZEROS = bytes(LENGTH)


def _read(answer, length=LENGTH, patience=5.0):
    with lying(answer) as address:
        client = NbdClient.connect(address, "disk", patience=patience)
        buffer = bytearray(b"\xee" * length)
        try:
            client.read_into(memoryview(buffer), 0)
        finally:
            client.close()
        return bytes(buffer)


def test_an_honest_answer_in_any_order_is_taken():
    def answer(asked):
        half = asked.length // 2
        zeros = chunk(2, asked.number, asked.offset.to_bytes(8, "big") + half.to_bytes(4, "big"), 0)
        return data(asked.number, asked.offset + half, b"b" * half, 0) + zeros + chunk(0, asked.number, b"")

    assert _read(answer) == bytes(LENGTH // 2) + b"b" * (LENGTH // 2)


LIES = {
    "bytes are left out": lambda r: data(r.number, r.offset, ZEROS[: r.length - 1]),
    "bytes come twice": lambda r: data(r.number, r.offset, ZEROS[: r.length], 0) + data(r.number, r.offset, b"x"),
    "bytes are of another place": lambda r: data(r.number, r.offset + 1, ZEROS[: r.length]),
    "bytes are of before the place": lambda r: data(r.number, SIZE, ZEROS[: r.length]),
    "there is nothing at all": lambda r: chunk(0, r.number, b""),
    "a hole is too long": lambda r: chunk(2, r.number, r.offset.to_bytes(8, "big") + (r.length + 1).to_bytes(4, "big")),
    "a hole has no length": lambda r: chunk(2, r.number, r.offset.to_bytes(8, "big") + bytes(4)),
    "nobody has asked": lambda r: data(r.number + 1, r.offset, ZEROS[: r.length]),
    "there is no structure": lambda r: (0x67446698).to_bytes(4, "big") + bytes(4) + r.number.to_bytes(8, "big"),
    "it is no NBD": lambda _: b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "it is of an unknown kind": lambda r: chunk(77, r.number, b"??"),
    "an error has no text": lambda r: chunk(0x8001, r.number, b""),
    "an error is huge": lambda r: chunk(0x8001, r.number, b"x" * 70_000),
    "the disk is broken": lambda r: chunk(0x8001, r.number, (5).to_bytes(4, "big") + b"\0\3bad"),
}


@pytest.mark.parametrize("lie", LIES)
def test_an_answer_is_an_error_when(lie):
    with pytest.raises(NbdError):
        _read(LIES[lie])


def test_a_server_that_hangs_up_in_the_middle_is_an_error():
    with pytest.raises(OSError, match=r"ended|slow|timed out"):
        _read(lambda r: data(r.number, r.offset, ZEROS[: r.length])[:-1], patience=0.3)


def test_a_server_that_says_nothing_is_an_error_in_time():
    with pytest.raises(TimeoutError):
        _read(lambda _: b"", patience=0.3)


def _extents(answer, begin=0, end=SIZE):
    with lying(answer) as address:
        client = NbdClient.connect(address, "disk", contexts=[ALLOCATION], patience=5.0)
        try:
            return list(client.extents(ALLOCATION, begin, end))
        finally:
            client.close()


def test_extents_are_joined_cut_and_asked_for_until_all_is_known():
    def answer(asked):
        if not asked.offset or asked.length == 4096:
            return extents(asked.number, 5, (8192 if asked.offset else 4096, 3))
        return extents(asked.number, 5, (4096, 3), (8192, 0))

    assert _extents(answer, 0, 20480) == [Extent(0, 8192, 3), Extent(8192, 8192, 0), Extent(16384, 4096, 3)]


BAD_EXTENTS = {
    "are of another context": lambda r: extents(r.number, 6, (r.length, 0)),
    "are empty": lambda r: extents(r.number, 5, (0, 0)),
    "are none": lambda r: extents(r.number, 5),
    "go on behind what was asked": lambda r: extents(r.number, 5, (r.length, 0), (r.length, 1)),
    "are cut off": lambda r: chunk(5, r.number, bytes(9)),
    "come twice": lambda r: extents(r.number, 5, (r.length, 0), flags=0) + extents(r.number, 5, (r.length, 0)),
}


@pytest.mark.parametrize("how", BAD_EXTENTS)
def test_extents_are_an_error_when_they(how):
    with pytest.raises(NbdError):
        _extents(BAD_EXTENTS[how])


def test_a_context_that_the_server_does_not_have_is_an_error():
    with lying(lambda _: b"") as address, pytest.raises(NbdError, match="qemu:dirty-bitmap:b"):
        NbdClient.connect(address, "disk", contexts=["qemu:dirty-bitmap:b"], patience=5.0)


def test_a_read_beyond_the_end_is_refused_before_it_is_asked():
    with lying(lambda _: b"") as address:
        client = NbdClient.connect(address, "disk", patience=5.0)
        with pytest.raises(NbdError, match="beyond"):
            client.read_into(memoryview(bytearray(2)), SIZE - 1)
        client.close()


def test_an_export_without_a_size_is_refused():
    with lying(lambda _: b"", size=1 << 63) as address, pytest.raises(NbdError, match="how large"):
        NbdClient.connect(address, "disk", patience=5.0)
