"""Retries of a whole fleet: how many at once, and none at all of what fails everywhere.

A storage that is down fails every job that needs it. Trying each of them again and again finds out nothing and takes
the slots from jobs that would succeed. So retries are few at a time, and an error that makes up a large part of all
ends of attempts stops the retries of the jobs that met it until it no longer does.

Rule of the file: pure; the state is what happened in the last minutes, so there is nothing to reset.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from shared.errors import REGISTRY, ErrorClass

SECONDS = 300.0
"""How far back ends of attempts count."""

FEWEST_FAILURES = 10
"""Below this many failures any share is chance."""

SHARE = 0.30
RETRY_SHARE = 0.20
FEWEST_RETRIES = 2
"""So many retries may run however small the installation."""


def tripped(*, failures: Mapping[str, int], ends: int) -> Sequence[str]:
    """Return the error codes whose jobs are not tried again for now, in order.

    ``failures`` are the ends of attempts by error code within ``SECONDS``, ``ends`` are all of them, good ones too.
    Only errors that pass by themselves count: the others are not retried anyway.
    """
    return sorted(
        code
        for code, count in failures.items()
        if count >= FEWEST_FAILURES and count > SHARE * ends and REGISTRY[code].error_class is ErrorClass.TRANSIENT
    )


def retries_allowed(*, slots: int, running: int) -> int:
    """Return how many more retries may start: at most a fifth of all slots serve second attempts."""
    return max(0, max(FEWEST_RETRIES, int(RETRY_SHARE * slots)) - running)
