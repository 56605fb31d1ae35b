"""libvirt through its own command, ``virsh``: a domain's state, definition, backup jobs, checkpoints and agent.

The command is everywhere that libvirt is; bindings would have to fit the Python that we run.

Rule of the file: every call has an end, and every failure is ``VirshFailed``, an OSError, with what libvirt said.
"""

from __future__ import annotations

import subprocess

from workers.sources.children import tied
from workers.sources.settings import inherited

_PATIENCE = 60.0
_MOST_SAID = 500


class VirshFailed(OSError):
    """libvirt refuses, fails or does not answer."""


class Virsh:
    """One domain at one connection. Methods may be called by any thread."""

    def __init__(self, uri: str, domain: str) -> None:
        self._uri = uri
        self._domain = domain

    def state(self) -> str:
        """Return ``running``, ``paused``, ``shut off`` and so on."""
        return self._run("domstate").strip()

    def definition(self) -> str:
        """Return the domain's XML, without passwords."""
        return self._run("dumpxml")

    def capacity(self, target: str) -> int:
        """Return the size of a disk, in bytes."""
        told = dict(line.split(":", 1) for line in self._run("domblkinfo", target).splitlines() if ":" in line)
        return int(told["Capacity"])

    def hypervisor(self) -> tuple[int, int, int]:
        """Return the version of the QEMU that runs it."""
        for line in self._of_connection("version").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "Running hypervisor":
                major, minor, micro = value.split()[-1].split(".")
                return int(major), int(minor), int(micro)
        raise VirshFailed("libvirt does not say which QEMU it runs")

    def backup_job(self) -> str | None:
        """Return the XML of the backup that is under way, None when there is none."""
        try:
            return self._run("backup-dumpxml")
        except VirshFailed as error:
            if "no domain backup job" in str(error):
                return None
            raise

    def begin_backup(self, backup: str, checkpoint: str) -> None:
        """Begin a backup and make a checkpoint, at one moment. Both are paths of XML files."""
        self._run("backup-begin", backup, checkpoint, "--reuse-external")

    def end_backup(self) -> None:
        """End the backup that is under way."""
        self._run("domjobabort")

    def checkpoints(self) -> list[str]:
        """Return the names of all checkpoints, every one behind the one that it follows."""
        return self._run("checkpoint-list", "--name", "--topological").split()

    def delete_checkpoint(self, name: str, *, only_name: bool = False) -> None:
        """Delete a checkpoint; what it has recorded goes to the one before it. ``only_name``: it has no bitmap."""
        self._run("checkpoint-delete", name, *(["--metadata"] if only_name else []))

    def freeze(self) -> None:
        """Bring the guest's file systems to rest."""
        self._run("domfsfreeze")

    def thaw(self) -> None:
        """Let them go on."""
        self._run("domfsthaw")

    def _run(self, command: str, *arguments: str) -> str:
        return self._of_connection(command, "--domain", self._domain, *arguments)

    def _of_connection(self, *arguments: str) -> str:
        # In English whatever this machine speaks: some of what it says is understood.
        command = tied(["virsh", "--quiet", "--connect", self._uri, *arguments])
        environment = {**inherited("XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"), "LC_ALL": "C"}
        try:
            done = subprocess.run(
                command,
                env=environment,
                capture_output=True,
                stdin=subprocess.DEVNULL,
                timeout=_PATIENCE,
                check=False,
                text=True,
                errors="backslashreplace",
            )
        except subprocess.TimeoutExpired as error:
            raise VirshFailed(f"virsh {arguments[0]}: not done in {_PATIENCE:.0f} s") from error
        if done.returncode:
            raise VirshFailed(done.stderr.strip()[-_MOST_SAID:] or f"virsh {arguments[0]} has failed")
        return done.stdout
