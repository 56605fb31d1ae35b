"""The worker's keyring."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from shared.crypto.domain_keys import new_dek
from shared.crypto.keyring import Keyring, read_key_file
from shared.errors import SkyharborError

DEK = new_dek()


@pytest.fixture
def keyring(tmp_path: Path) -> Keyring:
    return Keyring(str(tmp_path / "home" / "keys"))


def code_of(keyring: Keyring, machine_id: str = "m1") -> str:
    with pytest.raises(SkyharborError) as caught:
        keyring.get(machine_id)
    return caught.value.code


def test_a_kept_key_is_got_again_by_another_process(keyring: Keyring, tmp_path: Path) -> None:
    keyring.put("m1", DEK)
    assert (Keyring(str(tmp_path / "home" / "keys")).get("m1"), keyring.has("m1"), keyring.has("m2")) == (
        DEK,
        True,
        False,
    )


def test_folder_and_file_are_for_their_owner_only_whatever_the_umask(keyring: Keyring, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        keyring.put("m1", DEK)
    finally:
        os.umask(before)
    modes = [os.stat(path).st_mode & 0o777 for path in (tmp_path / "home" / "keys", keyring.path("m1"))]
    assert modes == [0o700, 0o600]


def test_keeping_a_key_twice_leaves_one_file(keyring: Keyring, tmp_path: Path) -> None:
    keyring.put("m1", DEK)
    keyring.put("m1", DEK)
    assert os.listdir(tmp_path / "home" / "keys") == ["m1.key"]


def test_a_key_is_never_replaced_by_another(keyring: Keyring, tmp_path: Path) -> None:
    keyring.put("m1", DEK)
    with pytest.raises(SkyharborError) as caught:
        keyring.put("m1", new_dek())
    assert (caught.value.code, keyring.get("m1")) == ("already-exists", DEK)
    assert os.listdir(tmp_path / "home" / "keys") == ["m1.key"]


def test_of_several_keys_put_at_once_one_stays(keyring: Keyring) -> None:
    deks = [new_dek() for _ in range(8)]

    def put(dek: bytes) -> bool:
        try:
            keyring.put("m1", dek)
        except SkyharborError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        kept = list(pool.map(put, deks))
    assert [dek for dek, ok in zip(deks, kept, strict=True) if ok] == [keyring.get("m1")]


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b"not json", b"[" * 4000, b'{"dek": 5, "check": 1, "machine_id": 2}']
)
def test_a_damaged_file_is_no_key_and_can_be_replaced(keyring: Keyring, content: bytes) -> None:
    keyring.put("m1", DEK)
    Path(keyring.path("m1")).write_bytes(content)
    assert code_of(keyring) == "key-missing"
    keyring.put("m1", DEK)
    assert keyring.get("m1") == DEK


def test_one_flipped_bit_in_the_file_is_no_key(keyring: Keyring) -> None:
    keyring.put("m1", DEK)
    path = Path(keyring.path("m1"))
    whole = path.read_bytes()
    for position in range(whole.index(b'"dek"') + 8, whole.index(b'"check"') - 6):
        damaged = bytearray(whole)
        damaged[position] ^= 1
        path.write_bytes(damaged)
        assert code_of(keyring) == "key-missing"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_key_that_others_can_reach_is_refused(keyring: Keyring, mode: int) -> None:
    keyring.put("m1", DEK)
    os.chmod(keyring.path("m1"), mode)
    assert code_of(keyring) == "key-missing"


def test_a_folder_that_others_can_reach_takes_no_key(keyring: Keyring, tmp_path: Path) -> None:
    os.makedirs(tmp_path / "home" / "keys")
    os.chmod(tmp_path / "home" / "keys", 0o710)  # noqa: S103 - that is the point
    with pytest.raises(SkyharborError) as caught:
        keyring.put("m1", DEK)
    assert (caught.value.code, os.listdir(tmp_path / "home" / "keys")) == ("key-missing", [])


def test_links_fifos_and_folders_are_no_keys(keyring: Keyring, tmp_path: Path) -> None:
    keyring.put("m1", DEK)
    os.symlink(keyring.path("m1"), keyring.path("link"))
    os.mkfifo(keyring.path("fifo"), 0o600)
    os.mkdir(keyring.path("folder"), 0o700)
    for name in ("link", "fifo", "folder", "absent"):
        with pytest.raises(SkyharborError) as caught:
            read_key_file(keyring.path(name), machine_id="m1")
        assert caught.value.code == "key-missing"


def test_the_key_of_one_machine_is_not_taken_for_another(keyring: Keyring) -> None:
    keyring.put("m1", DEK)
    os.rename(keyring.path("m1"), keyring.path("m2"))
    assert code_of(keyring, "m2") == "key-missing"
    assert read_key_file(keyring.path("m2"), machine_id="m1") == DEK


@pytest.mark.parametrize("machine_id", ["", "../m1", "a/b", "M1", ".hidden", "a\0", "x" * 65])
def test_an_id_that_could_leave_the_folder_is_refused(keyring: Keyring, machine_id: str) -> None:
    with pytest.raises(SkyharborError) as caught:
        keyring.put(machine_id, DEK)
    assert caught.value.code == "bad-request"
