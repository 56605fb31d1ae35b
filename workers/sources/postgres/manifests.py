"""The manifest of a data directory that was put together from a base and increments, for ``pg_verifybackup``.

Rule of the file: the newest backup's manifest, with other lines for the files that were put together.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

from workers.sources.postgres.increments import PREFIX


def combined(newest: bytes, made: Callable[[str], tuple[int, str] | None]) -> bytes:
    """Return a manifest. ``made`` returns size and SHA-256 of a path that was put together or changed, else None.

    Paths are as in the manifest, without the mark of an increment.
    """
    manifest = json.loads(newest)
    lines = [
        f'"PostgreSQL-Backup-Manifest-Version": {manifest["PostgreSQL-Backup-Manifest-Version"]},',
        f'"System-Identifier": {manifest["System-Identifier"]},',
        '"Files": [',
    ]
    files = [_file(one, made) for one in manifest["Files"]]
    lines += [json.dumps(one) + ("," if at < len(files) else "") for at, one in enumerate(files, 1)]
    ranges = ",\n".join(json.dumps(one) for one in manifest["WAL-Ranges"])
    lines += ["],", '"WAL-Ranges": [', ranges, "],"]
    text = "{ " + "\n".join(lines) + "\n"
    digest = hashlib.sha256(text.encode()).hexdigest()
    return (text + f'"Manifest-Checksum": "{digest}"}}\n').encode()


def _file(one: dict[str, Any], made: Callable[[str], tuple[int, str] | None]) -> dict[str, Any]:
    path = one.get("Path")
    if path is None:  # its name is not UTF-8: no relation, so nothing that is put together
        return one
    folder, slash, name = path.rpartition("/")
    path = folder + slash + name.removeprefix(PREFIX.decode())
    result = made(path)
    if result is None:
        return one
    size, digest = result
    kept = {"Path": path, "Size": size, "Last-Modified": one["Last-Modified"]}
    return {**kept, "Checksum-Algorithm": "SHA256", "Checksum": digest}
