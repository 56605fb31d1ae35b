"""Real initiators read a point by iSCSI: it is the disk, for those who know the secret, until the end."""

from __future__ import annotations

import os
import re
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from shared.errors import SkyharborError
from tests.unit.serving.points import File, random_file
from tests.workloads.serving import initiators
from tests.workloads.serving.glass import WAIT, GlassOnDisk, Serving, run
from tests.workloads.serving.initiators import need_iscsi, secret_of
from workers.serving import iscsi_server

SIZE = 24 << 20
DISK = random_file(3, size=SIZE, holes=9, smallest=200_000, largest=1_500_000)
OTHER = File(DISK.content[: SIZE // 2][::-1], cuts=(1 << 20,))
ANYWHERE = "127.0.0.1:0"


@pytest.fixture
def disks(glass: GlassOnDisk) -> GlassOnDisk:
    """A point of two disks."""
    glass.bench.seal([], {b"disk0.raw": DISK, b"disk1.raw": OTHER, b"notes": File(b"no disk")})
    return glass


def originals(folder: Path) -> list[str]:
    """Write the disks as files."""
    for number, disk in enumerate((DISK, OTHER)):
        (folder / f"original{number}").write_bytes(disk.content)
    return [f"{folder}/original0", f"{folder}/original1"]


def processes_of(serving: Serving) -> list[int]:
    """Return the programs beside the serving one: the one that runs tgtd, and tgtd."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    found = [serving.process.pid]
    for above in found:
        found += [pid for pid, parent in parents.items() if parent == above]
    return found[1:]


def await_end(pids: list[int]) -> None:
    """Wait until none of these processes is there any more."""
    ends = time.monotonic() + WAIT
    while left := [pid for pid in pids if Path(f"/proc/{pid}/cmdline").exists() and not is_zombie(pid)]:
        assert time.monotonic() < ends, f"still there: {left}"
        time.sleep(0.02)


def is_zombie(pid: int) -> bool:
    """Tell whether a process has ended and nobody has asked: of orphans, whoever is process 1 here may not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def everybody() -> Iterator[tuple[int, str, bytes]]:
    """Yield what processes show to others: their arguments, and to their own user their environment."""
    for folder in Path("/proc").glob("[0-9]*"):
        for shown in ("cmdline", "environ"):
            try:
                yield int(folder.name), shown, (folder / shown).read_bytes()
            except OSError:
                continue


def source_of(serving: Serving) -> str:
    """Return how the mount of the point is written, which tgtd has and nobody else."""
    source = f" - fuse skyharbor:{serving.process.pid} ro,"
    assert len(devices(processes_of(serving)[-1], having=source)) == 1
    return source


def devices(pid: int, *, having: str = "") -> set[str]:
    """Return what a process sees mounted, by the numbers of the devices."""
    lines = Path(f"/proc/{pid}/mountinfo").read_text().splitlines()
    return {line.split()[2] for line in lines if having in line}


def is_left(source: str) -> bool:
    """Tell whether any process of this machine sees that mount."""
    for file in Path("/proc").glob("[0-9]*/mountinfo"):
        with suppress(OSError):
            if source in file.read_text():
                return True
    return False


@pytest.mark.parametrize("unit", [0, 1])
def test_qemu_compares_and_copies_every_disk_and_it_is_the_original(
    disks: GlassOnDisk, tmp_path: Path, unit: int
) -> None:
    need_iscsi("qemu-img")
    original = originals(tmp_path)[unit]
    with disks.running("serve", "--iscsi", ANYWHERE) as serving:
        assert "identical" in initiators.compared(serving, original, unit=unit)
        file, copy = initiators.secret_object(serving.document["secret_file"]), f"{tmp_path}/copy.raw"
        how = initiators.image_options(serving, unit=unit)
        run("qemu-img", "convert", *file, "-O", "raw", "--image-opts", how, copy)
        assert Path(copy).read_bytes() == Path(original).read_bytes()


def test_the_line_that_people_are_shown_copies_the_disk(disks: GlassOnDisk, tmp_path: Path) -> None:
    need_iscsi("qemu-img")
    original = originals(tmp_path)[0]
    command = disks.command("serve", "--iscsi", ANYWHERE)
    command.remove("--json")
    with disks.speaking(command) as (process, lines):
        shown = next(line for line in lines if line.startswith("  copy:"))
        run("sh", "-c", shown.partition(":")[2], cwd=tmp_path)
        process.terminate()
        assert process.wait(WAIT) == 0
    assert "identical" in run("qemu-img", "compare", f"{tmp_path}/disk0.qcow2", original).stdout


def test_libiscsi_sees_a_unit_of_its_size_for_each_disk_and_reads_it(disks: GlassOnDisk) -> None:
    need_iscsi("iscsi-ls", "iscsi-inq", "iscsi-readcapacity16")
    with disks.running("serve", "--iscsi", ANYWHERE) as serving:
        assert [disk["name"] for disk in serving.document["disks"]] == ["disk0", "disk1"]
        listed = initiators.lists(serving).stdout
        assert listed.startswith(f"Target:{serving.document['target']} ")
        assert re.findall(r"Lun:(\d+) +Type:DIRECT_ACCESS", listed) == ["1", "2"]
        for unit, size in enumerate((SIZE, SIZE // 2)):
            said = initiators.tool(serving, "iscsi-readcapacity16", unit=unit).stdout
            assert f"Total size:{size}\n" in said
        assert "Vendor:SKYHARBR" in initiators.tool(serving, "iscsi-inq").stdout


def test_without_the_secret_nobody_gets_in_and_nobody_is_told_of_the_target(disks: GlassOnDisk, tmp_path: Path) -> None:
    need_iscsi("iscsi-ls", "iscsi-inq", "qemu-img")
    wrong = tmp_path / "wrong"
    wrong.write_text("0123456789abcdef")
    with disks.running("serve", "--iscsi", ANYWHERE) as serving:
        nobody = run("iscsi-inq", serving.uri, check=False)
        told = [
            nobody,
            run("iscsi-ls", "iscsi://" + serving.uri.split("/")[2], check=False),
            initiators.lists(serving, secret=wrong.read_text()),
            initiators.lists(serving, user="skyharbo", secret=secret_of(serving)),
            initiators.tool(serving, "iscsi-inq", check=False, secret=wrong.read_text()),
            initiators.tool(serving, "iscsi-inq", check=False, secret=secret_of(serving)[:-1]),
        ]
        assert [("Authentication failure" in one.stderr, one.returncode != 0) for one in told] == [(True, True)] * 6
        assert not any(serving.document["target"] in one.stdout for one in told)
        for options in ((), initiators.secret_object(str(wrong))):
            how = initiators.image_options(serving, secret=bool(options))
            ran = run("qemu-img", "info", *options, "--image-opts", how, check=False)
            assert (ran.returncode, "Authentication failure" in ran.stderr) == (1, True), ran.stderr
        assert initiators.tool(serving, "iscsi-inq").returncode == 0


def test_nobody_can_write(disks: GlassOnDisk, tmp_path: Path) -> None:
    need_iscsi("qemu-io", "qemu-img", "iscsi-test-cu")
    original = originals(tmp_path)[0]
    with disks.running("serve", "--iscsi", ANYWHERE) as serving:
        file, how = initiators.secret_object(serving.document["secret_file"]), initiators.image_options(serving)
        ran = run("qemu-io", *file, "--image-opts", how, "-c", "write 0 4k", check=False)
        assert (ran.returncode != 0, "write protected" in ran.stderr) == (True, True), ran.stderr
        assert run("qemu-io", "-r", *file, "--image-opts", how, "-c", "read 0 4k").returncode == 0
        # Every command of SCSI that writes, sent although the disk has said that it is not to be written. The tool
        # wants one reason of all of them; tgtd has another one for some: that is all that it may complain about.
        said = initiators.tool(serving, "iscsi-test-cu", "-d", "-t", "SCSI.ReadOnly", check=False).stdout
        complaints = re.findall(r"\[FAILED\] (.*)", said)
        assert [line for line in complaints if "failed with wrong sense" not in line] == [], said
        assert int(re.findall(r"asserts +(\d+)", said)[0]) > 10, said
        assert "identical" in initiators.compared(serving, original)


def test_nobody_shows_the_secret(disks: GlassOnDisk, tmp_path: Path) -> None:
    need_iscsi("qemu-img")
    original = originals(tmp_path)[0]
    with disks.running("serve", "--iscsi", ANYWHERE) as serving:
        secret, file = secret_of(serving), Path(serving.document["secret_file"])
        assert (re.fullmatch(r"[A-Za-z0-9]{16}", secret) is not None, file.stat().st_mode & 0o777) == (True, 0o600)
        assert file.stat().st_uid == os.geteuid()
        assert "identical" in initiators.compared(serving, original)
        shown = list(everybody())
        assert {pid for pid, what, _ in shown if what == "cmdline"} >= set(processes_of(serving))
        assert [(pid, what) for pid, what, text in shown if secret.encode() in text] == []
        assert secret not in str(serving.document)
        assert serving.end() == 0
        assert secret not in serving.err


def test_nobody_else_sees_the_point_and_tgtd_is_nobody(disks: GlassOnDisk) -> None:
    need_iscsi()
    with disks.running("serve", "--iscsi", ANYWHERE) as serving:
        beside, tgtd = processes_of(serving)
        assert Path(f"/proc/{tgtd}/comm").read_text() == "tgtd\n"
        (point,) = devices(tgtd, having=source_of(serving))
        assert not {point} & (devices(os.getpid()) | devices(serving.process.pid))
        status = Path(f"/proc/{tgtd}/status").read_text()
        if os.geteuid() == 0:
            assert re.findall(r"^(?:Uid|Gid):\t0\t", status, re.M) == []
        assert re.findall(r"^Cap(?:Eff|Prm):\t0+$", status, re.M) != []
        assert re.findall(r"^NoNewPrivs:\t1$", status, re.M) != []
        assert beside != tgtd


def test_an_ordinary_user_gets_the_same_by_a_namespace_of_users(disks: GlassOnDisk, tmp_path: Path) -> None:
    """Root that may make no namespace of mounts alone is in the place of an ordinary user."""
    need_iscsi("qemu-img", "setpriv")
    if os.geteuid():
        pytest.skip("every other test here is run by an ordinary user already")
    original = originals(tmp_path)[1]
    weak = ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin"]
    with disks.running("serve", "--iscsi", ANYWHERE, before=weak) as serving:
        tgtd = processes_of(serving)[-1]
        assert os.readlink(f"/proc/{tgtd}/ns/user") != os.readlink("/proc/self/ns/user")
        assert "identical" in initiators.compared(serving, original, unit=1)
        source = source_of(serving)
        assert serving.end() == 0
        assert not is_left(source)


def test_it_ends_with_its_lease_and_leaves_nothing(disks: GlassOnDisk) -> None:
    need_iscsi()
    # An address of this machine that nobody else has, for tgtd to be told from others by: the lease may end too soon to
    # look at anything before.
    address = f"127.{os.getpid() >> 16 & 127}.{os.getpid() >> 8 & 255}.{os.getpid() & 255}"
    with disks.running("serve", "--iscsi", f"{address}:0", "--for", "1s") as serving:
        assert serving.uri.startswith(f"iscsi://{address}:")
        assert serving.end(None) == 0
        assert serving.ended == {"ended": "lease"}
        assert serving.err == "the lease of 1s has ended: the disks are not served any more\n"
        assert not os.path.exists(serving.document["secret_file"])
        assert [pid for pid, _, text in everybody() if f"portal={address}:".encode() in text] == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_who_ends_it_while_a_disk_is_read_leaves_no_program_no_mount_and_no_secret(
    disks: GlassOnDisk, number: signal.Signals
) -> None:
    need_iscsi("qemu-io")
    with disks.running("serve", "--iscsi", ANYWHERE) as serving:
        file, how = initiators.secret_object(serving.document["secret_file"]), initiators.image_options(serving)
        with initiators.reading(file, how):
            pids, source = processes_of(serving), source_of(serving)
            assert len(pids) == 2
            assert serving.end(number) == (-signal.SIGKILL if number == signal.SIGKILL else 0)
            await_end(pids)
        assert (is_left(source), os.path.exists(serving.document["secret_file"])) == (False, False)


@pytest.mark.parametrize("which", [0, 1])
def test_when_tgtd_or_the_program_beside_it_dies_serving_ends_and_says_so(disks: GlassOnDisk, which: int) -> None:
    need_iscsi()
    with disks.running("serve", "--iscsi", ANYWHERE) as serving:
        pids, source = processes_of(serving), source_of(serving)
        os.kill(pids[which], signal.SIGKILL)
        assert serving.end(None) == 1
        assert serving.ended["error"]["code"] == "target-invalid"
        assert "tgtd has" in serving.err or "has died" in serving.err
        await_end(pids)
        assert not is_left(source)


def test_a_port_that_is_taken_is_said_and_nothing_is_served_anywhere_instead(disks: GlassOnDisk) -> None:
    need_iscsi()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        error = disks.refused("serve", "--iscsi", f"127.0.0.1:{port}")
        assert (error["code"], f"127.0.0.1:{port}" in error["message"]) == ("port-busy", True)
        assert "adjust" not in error["message"]  # what it may not do is not why


def test_two_points_are_never_two_ways_to_one_disk(disks: GlassOnDisk) -> None:
    need_iscsi("iscsi-inq")
    names = []
    for _ in range(2):
        with disks.running("serve", "--iscsi", ANYWHERE) as serving:
            for unit in (0, 1):
                # Raw, for the numbers in it are not text.
                command = ["iscsi-inq", "-e", "1", "-c", "131", serving.document["disks"][unit]["uri"]]
                said = initiators.raw(command, initiators.environment(serving))
                names += [re.findall(rb"Designator:\[(.*?)\]\n", said, re.S)]
        disks.bench.seal([], {b"disk0.raw": OTHER, b"disk1.raw": DISK})
    # The first is a number with zeros in front, of which the tool shows nothing, and made of the same as the last.
    _, targets, units = (set(kind) for kind in zip(*names, strict=True))
    assert (len(targets), len(units), {unit[:8] for unit in units}) == (2, 4, {b"SKYHARBR"}), names


def test_what_is_damaged_is_an_error_and_never_other_bytes(disks: GlassOnDisk, tmp_path: Path) -> None:
    need_iscsi("qemu-img")
    with disks.running("serve", "--iscsi", ANYWHERE) as serving:
        disks.spoil()
        file, how = initiators.secret_object(serving.document["secret_file"]), initiators.image_options(serving)
        copy = tmp_path / "copy.raw"
        ran = run("qemu-img", "convert", *file, "-O", "raw", "--image-opts", how, str(copy), check=False)
        assert ran.returncode != 0
        assert serving.end() == 0
        assert "disk0.raw: bytes " in serving.err
    found = copy.read_bytes() if copy.exists() else b""
    assert all(byte in (0, DISK.content[at]) for at, byte in enumerate(found) if byte)


def test_what_is_no_disk_is_refused_before_anything_listens(glass: GlassOnDisk, tmp_path: Path) -> None:
    need_iscsi()
    glass.bench.seal([], {b"notes": File(b"x" * 700), b"a,b \xff": File(b"y" * 1024)})
    error = glass.refused("serve", "--iscsi", ANYWHERE)
    assert (error["code"], "has no disks" in error["message"]) == ("bad-request", True)
    error = glass.refused("serve", "--iscsi", ANYWHERE, "--path", "/notes")
    assert (error["code"], "sectors" in error["message"]) == ("bad-request", True)
    assert glass.refused("serve", "--iscsi", ANYWHERE, "--path", "/no")["code"] == "path-not-in-point"
    with glass.running("serve", "--iscsi", ANYWHERE, "--path", os.fsdecode(b"/a,b \xff")) as serving:
        assert serving.document["disks"][0]["size"] == 1024


@pytest.mark.parametrize(
    "options",
    [
        ["--iscsi", "0.0.0.0:0"],
        ["--iscsi", "unix:/tmp/s"],
        ["--iscsi", ANYWHERE, "--nbd", ANYWHERE],
        ["--iscsi", ANYWHERE, "--tls-ca", "/x"],
        [],
    ],
    ids=["other machines", "a socket", "both ways", "certificates", "no way"],
)
def test_options_that_would_not_be_safe_or_make_no_sense_are_refused(disks: GlassOnDisk, options: list[str]) -> None:
    need_iscsi()
    assert disks.refused("serve", *options)["code"] == "bad-request"


def test_a_machine_without_tgtd_is_told_which_package_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(iscsi_server, "_PATH", "/nowhere")
    with pytest.raises(SkyharborError, match="tgtd is not installed"):
        iscsi_server._child(iscsi_server.parse_tcp(ANYWHERE))
