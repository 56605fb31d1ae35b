"""Libraries that only some workers have: those of the servers that they back up.

Rule of the file: what is missing is said with the name of the extra that brings it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from shared.errors import SkyharborError


def adapter(module: str, name: str, *, extra: str) -> Callable[..., Any]:
    """Return a function or class of an adapter's module; ``source-failed`` when what the module needs is missing."""
    try:
        found: Callable[..., Any] = getattr(importlib.import_module(module), name)
    except ImportError as error:
        hint = f"Install Skyharbor on the worker with the extra {extra!r}."
        raise SkyharborError("source-failed", f"this worker lacks a library: {error}", hint=hint) from error
    return found
