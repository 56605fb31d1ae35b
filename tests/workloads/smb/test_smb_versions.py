"""A previous version is a moment of the whole share: what a writer does meanwhile is not in the point."""

import shutil
import threading
from datetime import UTC, datetime, timedelta

import pytest

from shared.errors import SkyharborError
from tests.support.held import NoGuard
from workers.engine.doors import Doors
from workers.engine.ports import SessionOrder
from workers.sources.opening import open_source
from workers.sources.smb.session import SmbSession

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


class At:
    """A clock that stands."""

    def __init__(self, now):
        self._now = now

    def now(self):
        return self._now

    def monotonic(self):
        return 0.0

    def sleep(self, seconds):
        raise AssertionError(seconds)


def _order(scene, reference=None, **changes):
    spec = scene.spec(url=scene.server.url(f"shadow/{scene.name}"), **changes)
    return SessionOrder(spec, "item", "point", reference, (), "/nowhere", NoGuard(), lambda: None)


def _freeze(scene, when):
    """Make a previous version, as a file server does it: all at once."""
    copy = scene.server.versions / when.strftime("@GMT-%Y.%m.%d-%H.%M.%S")
    shutil.copytree(scene.server.share, copy, symlinks=True)
    return copy


def _backup(scene, now=NOW, **changes):
    def open_session(reference):
        return SmbSession(_order(scene, reference, **changes), clock=At(now))

    return scene.rig.backup("/", doors=Doors(open_session, open_source))


def test_a_point_of_a_previous_version_is_of_one_moment_while_somebody_writes(own_scene):
    scene = own_scene
    for number in range(200):
        (scene.tree / f"{number:03}").write_bytes(b"generation 1")
    _freeze(scene, NOW - timedelta(minutes=10))
    ended = threading.Event()

    def write():
        generation = 1
        while not ended.is_set():
            generation += 1
            for number in range(200):
                (scene.tree / f"{number:03}").write_bytes(b"generation %d" % generation)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        _backup(scene)
    finally:
        ended.set()
        writer.join()
    reader = scene.rig.reader()
    contents = {b"".join(map(bytes, reader.read_chunks(entry.chunks))) for entry in reader.entries() if entry.kind == 1}
    assert contents == {b"generation 1"}
    assert reader.body.state["previous-version"] == "2026-11-25T11:50:00+00:00"


def test_a_writer_can_be_met_without_a_previous_version(own_scene):
    """The test above would mean nothing if the live share showed one generation only."""
    scene = own_scene
    (scene.tree / "a").write_bytes(b"generation 1")
    _freeze(scene, NOW - timedelta(minutes=10))
    (scene.tree / "a").write_bytes(b"generation 2")
    _backup(scene, previous_versions="none")
    reader = scene.rig.reader()
    (entry,) = [entry for entry in reader.entries() if entry.path.endswith(b"/a")]
    assert b"".join(map(bytes, reader.read_chunks(entry.chunks))) == b"generation 2"
    assert "previous-version" not in reader.body.state


@pytest.mark.parametrize(
    ("choice", "ages", "taken"),
    [
        ("auto", [10, 50], 10),
        ("auto", [90], None),
        ("newest", [90, 300], 90),
        ("none", [10], None),
        ("auto", [], None),
    ],
)
def test_which_version_is_taken(own_scene, choice, ages, taken):
    for age in ages:
        _freeze(own_scene, NOW - timedelta(minutes=age))
    session = SmbSession(_order(own_scene, previous_versions=choice), clock=At(NOW))
    try:
        wanted = {} if taken is None else {"previous-version": (NOW - timedelta(minutes=taken)).isoformat()}
        assert {name: value for name, value in session.state.items() if name == "previous-version"} == wanted
    finally:
        session.close()


def test_a_version_that_is_asked_for_and_is_not_there_fails_with_a_hint(own_scene):
    with pytest.raises(SkyharborError) as caught:
        SmbSession(_order(own_scene, previous_versions="newest"), clock=At(NOW))
    assert (caught.value.code, "previous version" in caught.value.detail) == ("source-failed", True)


def test_a_version_that_the_server_deletes_meanwhile_is_no_point(own_scene):
    copy = _freeze(own_scene, NOW - timedelta(minutes=5))
    session = SmbSession(_order(own_scene), clock=At(NOW))
    try:
        session.confirm()
        shutil.rmtree(copy)
        with pytest.raises(SkyharborError) as caught:
            session.confirm()
        assert caught.value.code == "source-failed"
    finally:
        session.close()


def test_the_next_point_knows_that_the_server_keeps_no_change_times(own_scene):
    (own_scene.tree / "kept").write_bytes(b"1" * 1000)
    _backup(own_scene, previous_versions="none")
    assert own_scene.rig.reader().body.state["change-times"] == "none"
