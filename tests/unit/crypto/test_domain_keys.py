"""Keys and ciphers of a domain."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from shared.crypto.domain_keys import TAG_SIZE, DomainKeys, new_dek
from shared.errors import SkyharborError

DEK = bytes(range(32))
KEYS = DomainKeys.derive(DEK)
SALT = b"s" * 32


def rfc5869(key: bytes, *, salt: bytes, info: bytes, length: int) -> bytes:
    """HKDF-SHA256 written down from the RFC, to check the derivation against something that is not itself."""
    extracted = hmac.digest(salt, key, "sha256")
    block = output = b""
    for counter in range(1, -(-length // 32) + 1):
        block = hmac.digest(extracted, block + info + bytes([counter]), "sha256")
        output += block
    return output[:length]


def test_each_key_is_hkdf_of_the_dek_with_the_info_string_of_the_format() -> None:
    def derived(name: str, length: int = 32) -> bytes:
        return rfc5869(DEK, salt=bytes(32), info=b"skyharbor/v1/" + name.encode(), length=length)

    expected = DomainKeys(
        id_key=derived("chunk-id"),
        pack_key=derived("pack"),
        metadata_key=derived("metadata"),
        mask_key=derived("frame-mask"),
        chunker_seed=int.from_bytes(derived("chunker-seed", 8), "big") // 2,
    )
    assert expected == KEYS


def test_a_chunk_id_is_keyed_blake3_of_any_buffer() -> None:
    expected = blake3(b"chunk", key=rfc5869(DEK, salt=bytes(32), info=b"skyharbor/v1/chunk-id", length=32)).digest()
    given_as = [b"chunk", bytearray(b"chunk"), memoryview(b"a chunk")[2:]]
    assert [KEYS.chunk_id(data) for data in given_as] == [expected] * 3


def test_two_domains_give_one_chunk_different_ids() -> None:
    assert DomainKeys.derive(new_dek()).chunk_id(b"x") != DomainKeys.derive(new_dek()).chunk_id(b"x")


def test_no_key_shows_in_what_python_prints() -> None:
    shown = repr(KEYS)
    assert not any(getattr(KEYS, name).hex() in shown for name in ("id_key", "pack_key", "metadata_key", "mask_key"))
    assert (shown, str(KEYS.chunker_seed) in shown) == ("DomainKeys()", False)


@given(st.binary(max_size=4096), st.integers(0, 2**32), st.binary(max_size=64))
def test_what_was_sealed_opens_and_is_a_tag_longer(data: bytes, ordinal: int, aad: bytes) -> None:
    cipher = KEYS.pack_cipher(SALT)
    sealed = cipher.seal(ordinal, data, aad)
    assert (cipher.open(ordinal, sealed, aad), len(sealed)) == (data, len(data) + TAG_SIZE)


@given(st.integers(0, 8 * 36 - 1))
def test_one_flipped_bit_anywhere_is_damage_and_never_other_bytes(bit: int) -> None:
    cipher = KEYS.pack_cipher(SALT)
    sealed = bytearray(cipher.seal(7, b"twenty bytes of text", b"aad"))
    sealed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(SkyharborError) as caught:
        cipher.open(7, sealed, b"aad")
    assert caught.value.code == "object-damaged"


def test_another_place_purpose_or_key_does_not_open() -> None:
    sealed = KEYS.pack_cipher(SALT).seal(7, b"text", b"aad")
    others = [
        (KEYS.pack_cipher(SALT), 8, sealed, b"aad"),
        (KEYS.pack_cipher(SALT), 7, sealed, b"other"),
        (KEYS.pack_cipher(b"t" * 32), 7, sealed, b"aad"),
        (KEYS.metadata_cipher(SALT), 7, sealed, b"aad"),
        (DomainKeys.derive(new_dek()).pack_cipher(SALT), 7, sealed, b"aad"),
        (KEYS.pack_cipher(SALT), 7, sealed[:-1], b"aad"),
        (KEYS.pack_cipher(SALT), 7, b"", b"aad"),
    ]
    for cipher, ordinal, data, aad in others:
        with pytest.raises(SkyharborError) as caught:
            cipher.open(ordinal, data, aad)
        assert caught.value.code == "object-damaged"


def test_masks_of_frames_do_not_repeat() -> None:
    masks = {KEYS.frame_mask(salt, ordinal) for salt in (SALT, b"t" * 32) for ordinal in range(1000)}
    assert (len(masks), {len(mask) for mask in masks}) == (2000, {16})


def test_a_salt_or_dek_of_another_length_is_refused() -> None:
    for call in (KEYS.pack_cipher, KEYS.metadata_cipher, lambda salt: KEYS.frame_mask(salt, 0), DomainKeys.derive):
        with pytest.raises(ValueError, match="32 bytes"):
            call(b"short")


def test_the_derivation_never_changes() -> None:
    cipher = KEYS.pack_cipher(SALT).seal(1, b"format", b"v1")
    everything = KEYS.chunk_id(b"format") + cipher + KEYS.frame_mask(SALT, 1) + KEYS.chunker_seed.to_bytes(8, "big")
    everything += KEYS.metadata_cipher(SALT).seal(1, b"format", b"v1")
    assert hashlib.sha256(everything).hexdigest() == "5e00ef311e48ce8af9304245068f9a0835eff5ff35adcdfc15ae0b8265677f66"
