"""Messages are sealed as the protocol says, and nothing that is not is believed."""

import pytest

from workers.sources.smb.crypt import SPARE, Cipher, Forged, SessionKeys, Signer

KEYS = {"session_id": 7, "signing": b"s" * 16}


def _message():
    return bytearray(b"\xfeSMB" + bytes(range(60)) + b"body of a message")


def with_room(sealed):
    return memoryview(bytearray(sealed) + bytearray(SPARE))


@pytest.mark.parametrize("algorithm", [0, 1, 2])
def test_a_signature_is_right_for_its_message_and_number_only(algorithm):
    signer = Signer(SessionKeys(**KEYS, signing_algorithm=algorithm))
    message = _message()
    message[48:64] = bytes(16)
    message[48:64] = signer.sign(message, 3, reply=True)
    signer.check(memoryview(message), 3)
    message[-1] ^= 1
    with pytest.raises(Forged):
        signer.check(memoryview(message), 3)


def test_the_number_and_the_direction_are_signed_too():
    """AES-GMAC takes them into its nonce ([MS-SMB2] 3.1.4.1); the others have the number in the header."""
    signer = Signer(SessionKeys(**KEYS, signing_algorithm=2))
    message = _message()
    made = {signer.sign(message, 3), signer.sign(message, 4), signer.sign(message, 3, reply=True)}
    assert len(made) == 3


@pytest.mark.parametrize(("cipher", "size"), [(1, 16), (2, 16), (3, 32), (4, 32)])
def test_what_one_side_closes_the_other_opens(cipher, size):
    ours = Cipher(
        SessionKeys(**KEYS, signing_algorithm=2, cipher=cipher, encryption=b"a" * size, decryption=b"b" * size)
    )
    theirs = Cipher(
        SessionKeys(**KEYS, signing_algorithm=2, cipher=cipher, encryption=b"b" * size, decryption=b"a" * size)
    )
    sealed = ours.close(bytes(_message()))
    assert bytes(theirs.open(with_room(sealed))) == bytes(_message())
    assert ours.close(bytes(_message())) != sealed  # no nonce twice


@pytest.mark.parametrize("at", [0, 5, 25, 46, 60, -1])
def test_a_flipped_byte_anywhere_is_forged(at):
    keys = SessionKeys(**KEYS, signing_algorithm=2, cipher=2, encryption=b"a" * 16, decryption=b"a" * 16)
    sealed = bytearray(Cipher(keys).close(bytes(_message())))
    sealed[at] ^= 1
    with pytest.raises(Forged):
        Cipher(keys).open(with_room(sealed))


def test_a_message_in_clear_is_forged_where_encryption_was_agreed_on():
    keys = SessionKeys(**KEYS, signing_algorithm=2, cipher=2, encryption=b"a" * 16, decryption=b"a" * 16)
    with pytest.raises(Forged):
        Cipher(keys).open(with_room(_message() * 3))
