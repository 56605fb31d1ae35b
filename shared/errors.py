"""The error registry: every failure a person or a program can meet, once, with its code and its next step.

Rule of the file: an error is data. Code is raised as ``SkyharborError(code, detail)``; everything a caller
may branch on (class, HTTP status, exit code, retryable) comes from the registry, never from the message.
Codes are stable: they are part of the API, the CLI's ``--json`` output and the job table.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ErrorClass(StrEnum):
    """Who can do something about it; decides whether and how a job is retried."""

    TRANSIENT = "transient"  # network, storage hiccup: try again soon
    SOURCE = "source"  # the protected item could not be read as a whole
    CONFIG = "config"  # somebody has to change something first: no retry
    INTEGRITY = "integrity"  # bytes are not what they must be: no retry, alarm
    WORKER_LOST = "worker_lost"  # the worker stopped answering
    REFUSED = "refused"  # a rule, a lock or a newer owner said no


class ExitCode:
    """Exit codes of the CLI; documented in the README and tested."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    WARNINGS = 3
    NOT_FOUND = 4
    REFUSED = 5
    UNREACHABLE = 6
    INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class ErrorKind:
    """One line of the registry. ``hint`` is what helps whatever the detail is; empty where nothing does."""

    code: str
    title: str
    error_class: ErrorClass
    status: int
    exit_code: int
    hint: str

    @property
    def retryable(self) -> bool:
        """Whether a job that failed with this may succeed when simply tried again."""
        return self.error_class in (ErrorClass.TRANSIENT, ErrorClass.SOURCE, ErrorClass.WORKER_LOST)


def _kinds(*rows: tuple[str, str, ErrorClass, int, int, str]) -> dict[str, ErrorKind]:
    registry = {row[0]: ErrorKind(*row) for row in rows}
    if len(registry) != len(rows):
        raise AssertionError("an error code is registered twice")
    return registry


_C = ErrorClass
_X = ExitCode

_SAID = ""
"""The hint of codes that are raised for many reasons: no one sentence helps with all, so the error itself says what to do."""

# fmt: off
REGISTRY: dict[str, ErrorKind] = _kinds(
    # asking
    ("bad-request", "The request is not right", _C.CONFIG, 422, _X.USAGE, _SAID),
    ("unauthenticated", "The credential is missing or wrong", _C.CONFIG, 401, _X.REFUSED,
     "Pass --token or SKYHARBOR_TOKEN, or --home of a stack that this user may read."),
    ("not-found", "There is no such thing", _C.CONFIG, 404, _X.NOT_FOUND, _SAID),
    ("already-exists", "The name is taken", _C.REFUSED, 409, _X.REFUSED, "Choose another name, or use the existing one."),
    ("conflict", "The state does not allow this", _C.REFUSED, 409, _X.REFUSED, _SAID),
    ("idempotency-mismatch", "This Idempotency-Key was used for a different request", _C.REFUSED, 409, _X.REFUSED,
     "Use a new key for a new request."),
    ("policy-invalid", "The policy is not valid", _C.CONFIG, 422, _X.USAGE, "Correct the line that the message names and apply again."),
    ("fleet-invalid", "The fleet to simulate is not valid", _C.CONFIG, 422, _X.USAGE,
     "Correct the lines that the message names; docs/guides/simulating.md shows every key."),
    # reaching
    ("server-unreachable", "The tower does not answer", _C.TRANSIENT, 503, _X.UNREACHABLE,
     "Start it with 'skyharbor up', or check --server and the network."),
    ("worker-unavailable", "No worker has taken the job", _C.TRANSIENT, 503, _X.UNREACHABLE,
     "Check 'skyharbor status' and the worker's log."),
    ("broker-unsafe", "The broker cannot be relied on", _C.CONFIG, 409, _X.FAILED,
     "Set 'maxmemory-policy noeviction' in the broker's configuration, and share it with no cache."),
    # the embedded stack
    ("home-foreign", "The home folder belongs to another user", _C.CONFIG, 403, _X.REFUSED,
     "Use a home of your own with --home, or run as its owner."),
    ("home-newer", "The home folder was written by a newer version", _C.CONFIG, 409, _X.REFUSED,
     "Run the newer Skyharbor; a home is never downgraded."),
    ("home-invalid", "The home folder cannot be used", _C.CONFIG, 409, _X.FAILED, "Choose an empty folder or an existing Skyharbor home."),
    ("port-busy", "The port is in use", _C.CONFIG, 409, _X.FAILED, "Choose another with --port, or stop the program that holds it."),
    ("stack-start-failed", "A part of the stack did not start", _C.TRANSIENT, 500, _X.FAILED,
     "Read the log file that the message names."),
    ("foreign-package", "Another distribution has put its own package in our way", _C.CONFIG, 500, _X.FAILED,
     "Install Skyharbor into an environment of its own (make setup does)."),
    # keys
    ("passphrase-too-short", "The passphrase has fewer than 16 characters", _C.CONFIG, 422, _X.USAGE,
     "Use at least 16 characters, or --generate-passphrase."),
    ("wrong-passphrase", "The passphrase does not open this machine's key", _C.CONFIG, 403, _X.REFUSED,
     "Check the file for a missing or an extra character; nothing was changed."),
    ("key-missing", "This worker does not hold the machine's key", _C.CONFIG, 403, _X.REFUSED,
     "Put it into the worker's keyring with 'skyharbor machine unlock', or restore with break-glass and the passphrase."),
    # the vault
    ("vault-missing", "There is no vault at this place", _C.CONFIG, 404, _X.NOT_FOUND,
     "Check the URL; a vault is made with 'skyharbor vault create'."),
    ("vault-swapped", "Another vault is at this place", _C.CONFIG, 409, _X.FAILED,
     "Check what is mounted there; nothing was read or written."),
    ("vault-exists", "There is already a vault at this place", _C.REFUSED, 409, _X.REFUSED, "Choose an empty place for a new vault."),
    ("vault-not-empty", "The place is not empty and holds no vault", _C.REFUSED, 409, _X.REFUSED, "Choose an empty place for a new vault."),
    ("vault-unsupported", "The vault needs a newer reader", _C.CONFIG, 409, _X.FAILED, "Use a newer version of Skyharbor to read it."),
    ("store-url-invalid", "The store URL is not usable", _C.CONFIG, 422, _X.USAGE, "Write file:///folder or s3://bucket/prefix."),
    ("store-not-a-folder", "The store's path is not a folder", _C.CONFIG, 409, _X.FAILED, "Give the path of a folder; nothing was changed."),
    ("store-denied", "The store refused access", _C.CONFIG, 403, _X.FAILED, "Check the owner and mode of the folder, or the credentials."),
    ("store-full", "The store is full", _C.CONFIG, 507, _X.FAILED, "Free space or enlarge the store, then retry the job; nothing is lost."),
    ("store-unreachable", "The store does not answer", _C.TRANSIENT, 503, _X.UNREACHABLE, "Check the network and the store's own health."),
    ("store-unsafe", "The store does not keep what a vault relies on", _C.CONFIG, 409, _X.FAILED,
     "The message names the promise that it breaks; use another server or disk, or repair this one."),
    ("store-read-only", "This work may only read the store", _C.REFUSED, 409, _X.REFUSED,
     "This is a defect: please report it with the log file. Nothing was changed."),
    ("point-fenced", "The recovery point was given up before it was sealed", _C.REFUSED, 409, _X.REFUSED,
     "Start a new backup; what was uploaded is found again by it."),
    ("object-missing", "An object of the vault is missing", _C.INTEGRITY, 410, _X.FAILED,
     "Run 'skyharbor verify POINT --full' to see which files it takes with it."),
    ("object-damaged", "An object of the vault is damaged", _C.INTEGRITY, 500, _X.FAILED,
     "Run 'skyharbor verify POINT --full' to see which files it takes with it."),
    # the work
    ("stale-claim", "Somebody else owns this work now", _C.REFUSED, 409, _X.REFUSED, "Stop; the newer owner finishes it."),
    ("worker-lost", "The worker stopped answering", _C.WORKER_LOST, 500, _X.FAILED, "The job is retried by itself; read the worker's log."),
    ("hand-lost", "A process of the worker ended before its work did", _C.TRANSIENT, 500, _X.FAILED,
     "The job is retried by itself; when it happens again, look for lack of memory in the system's log."),
    ("quarantined", "The job lost three workers and was put aside", _C.CONFIG, 500, _X.FAILED,
     "Read the workers' logs around the times in the audit log before retrying it."),
    ("cancelled", "The job was cancelled", _C.REFUSED, 409, _X.REFUSED, "Start a new one when you want it."),
    ("start-missed", "The job could not start in its time", _C.REFUSED, 409, _X.REFUSED,
     "Look at what it waited for with 'skyharbor slot list', or allow the policy a longer start_within."),
    ("finish-missed", "The job was not done in its time", _C.REFUSED, 409, _X.REFUSED,
     "Allow the policy a longer finish_within; what was uploaded is found again by the next backup."),
    ("source-missing", "A path to protect does not exist", _C.SOURCE, 404, _X.FAILED, "Check the item's paths with 'skyharbor item show'."),
    ("source-failed", "The source could not be read", _C.SOURCE, 500, _X.FAILED, _SAID),
    ("source-denied", "The source refused us, or is not the one that we know", _C.CONFIG, 403, _X.REFUSED, _SAID),
    ("target-invalid", "The restore target cannot be used", _C.CONFIG, 409, _X.FAILED, _SAID),
    ("target-unreachable", "The server of the restore target does not answer", _C.TRANSIENT, 503, _X.UNREACHABLE,
     "Check the server and the network; what was restored is kept when the same restore runs again."),
    ("target-full", "The disk of the restore target is full", _C.CONFIG, 507, _X.FAILED, "Free space and run the same restore again; it resumes."),
    ("path-not-in-point", "The recovery point has no such path", _C.CONFIG, 404, _X.NOT_FOUND, "List the point with 'skyharbor point ls'."),
    ("disk-unreadable", "What is in the disk cannot be read file by file", _C.CONFIG, 409, _X.FAILED,
     "Restore the whole disk; its files are then read by the system that wrote them."),
    ("internal", "Something unexpected happened", _C.TRANSIENT, 500, _X.FAILED, "This is a defect: please report it with the log file."),
)
# fmt: on


class SkyharborError(Exception):
    """A failure with a registered code.

    ``detail`` says what happened to which thing, without secrets. Extra keyword fields travel into problem
    details and logs; ``hint`` is the next step in this very case, before the registry's. Unknown codes are a
    programming error and raise ``KeyError`` at once.
    """

    def __init__(self, code: str, detail: str = "", **fields: object) -> None:
        self.kind = REGISTRY[code]
        self.detail = detail or self.kind.title
        self.fields = fields
        super().__init__(f"{self.kind.title}: {detail}" if detail else self.kind.title)

    @property
    def code(self) -> str:
        """The registry's code, such as ``vault-missing``."""
        return self.kind.code

    @property
    def hint(self) -> str:
        """The next step: this error's own, else what the registry says of its code; empty when the detail says all."""
        own = self.fields.get("hint")
        return own if isinstance(own, str) and own else self.kind.hint
