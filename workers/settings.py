"""What a worker process is told by its environment, read once.

Rule of the file: the only place of the data plane that looks at environment variables.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass

from shared.errors import SkyharborError
from workers.engine.sharding import SHARD_ENTRIES

_KEPT_BY_ALLOCATOR = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """Where the tower and the broker are, what this worker is called, and where it keeps its own things.

    ``name`` must be held by one living process only; a lock file in ``state`` sees to it. ``keyring`` holds the
    unwrapped data keys of the machines that this worker protects. ``shard_entries``: the size from which on a backup is
    shared with other workers. ``ready_file`` is where the worker says that the tower knows it and
    the broker answers, and by when each of its loops will be heard of again; one that is late by ``hang_seconds``
    hangs. ``task_events``: Flower shall see every task. ``hooks`` is the folder of programs that an item may have run
    around its backups; without one no item may.
    """

    tower_url: str
    worker_token: str
    broker_url: str
    name: str
    state: str
    keyring: str
    concurrency: int
    log_file: str | None
    ready_file: str | None
    shard_entries: int
    hang_seconds: float
    task_events: bool = False
    hooks: str | None = None

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> WorkerSettings:
        """Read ``SKYHARBOR_*``; ``bad-request`` names the first variable that is missing or wrong.

        With ``SKYHARBOR_HOME`` the state, the keyring and the token are looked for there, unless they are named.
        """
        given = os.environ if environ is None else environ
        home = given.get("SKYHARBOR_HOME", "")
        env = {**(_in_home(home) if home else {}), **{name: value for name, value in given.items() if value}}
        state = _need(env, "SKYHARBOR_WORKER_STATE")
        return cls(
            tower_url=_need(env, "SKYHARBOR_TOWER_URL").rstrip("/"),
            worker_token=_token(env),
            broker_url=_need(env, "SKYHARBOR_BROKER_URL"),
            name=env.get("SKYHARBOR_WORKER_NAME") or socket.gethostname(),
            state=state,
            keyring=env.get("SKYHARBOR_KEYRING") or os.path.join(state, "keyring"),
            concurrency=_count(env.get("SKYHARBOR_WORKER_CONCURRENCY", "2")),
            log_file=env.get("SKYHARBOR_LOG_FILE") or None,
            ready_file=env.get("SKYHARBOR_READY_FILE") or None,
            shard_entries=_entries(env.get("SKYHARBOR_SHARD_ENTRIES") or str(SHARD_ENTRIES)),
            hang_seconds=_seconds(env.get("SKYHARBOR_HANG_SECONDS") or "60"),
            task_events=_flag(env, "SKYHARBOR_TASK_EVENTS"),
            hooks=_folder(env, "SKYHARBOR_HOOKS"),
        )


def hands_environment() -> dict[str, str]:
    """Return the environment of the processes that read and write for this one."""
    return {
        **os.environ,
        # OpenBLAS would start threads at import, and a forked child without them may hang.
        "OPENBLAS_NUM_THREADS": "1",
        # Segments of some MiB come and go all the time: kept by the allocator they cost no page faults.
        "MALLOC_MMAP_THRESHOLD_": str(_KEPT_BY_ALLOCATOR),
        "MALLOC_TRIM_THRESHOLD_": str(_KEPT_BY_ALLOCATOR),
    }


def _in_home(home: str) -> dict[str, str]:
    return {
        "SKYHARBOR_WORKER_STATE": os.path.join(home, "worker"),
        "SKYHARBOR_KEYRING": os.path.join(home, "keyring"),
        # Whoever may put a program there owns the stack, and so the worker.
        "SKYHARBOR_HOOKS": os.path.join(home, "hooks.d"),
        "SKYHARBOR_WORKER_TOKEN_FILE": os.path.join(home, "secrets", "worker.token"),
    }


def _need(env: Mapping[str, str], name: str) -> str:
    value = env.get(name, "")
    if not value:
        raise SkyharborError(
            "bad-request", f"{name} is not set", hint="Set it in the environment; see 'skyharbor serve --help'."
        )
    return value


def _folder(env: Mapping[str, str], name: str) -> str | None:
    path = env.get(name)
    if path and not os.path.isabs(path):
        raise SkyharborError("bad-request", f"{name} must be an absolute path, not {path!r}")
    return path or None


def _flag(env: Mapping[str, str], name: str) -> bool:
    text = env.get(name) or "0"
    if text not in ("0", "1"):
        raise SkyharborError("bad-request", f"{name} must be 0 or 1, not {text!r}")
    return text == "1"


def _count(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 64:
        raise SkyharborError("bad-request", f"SKYHARBOR_WORKER_CONCURRENCY must be 1 to 64, not {text!r}")
    return int(text)


def _entries(text: str) -> int:
    if not text.isdigit() or not int(text):
        raise SkyharborError("bad-request", f"SKYHARBOR_SHARD_ENTRIES must be a number from 1 on, not {text!r}")
    return int(text)


def _seconds(text: str) -> float:
    if not text.isdigit() or not int(text):
        raise SkyharborError("bad-request", f"SKYHARBOR_HANG_SECONDS must be a number from 1 on, not {text!r}")
    return float(text)


def _token(env: Mapping[str, str]) -> str:
    path = _need(env, "SKYHARBOR_WORKER_TOKEN_FILE")
    try:
        with open(path, encoding="ascii") as file:
            return file.read().strip()
    except OSError as error:
        hint = "The file must be there, and this process's user must be able to read it."
        raise SkyharborError(
            "bad-request", f"SKYHARBOR_WORKER_TOKEN_FILE: {error.strerror}: {path}", hint=hint
        ) from error
