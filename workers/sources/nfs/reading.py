"""By what description hands and shards read the same folder.

Rule of the file: values only.
"""

from __future__ import annotations

import msgspec

from shared.contracts.sources import NfsSource


class NfsReading(msgspec.Struct, frozen=True, kw_only=True, tag="nfs", tag_field="reading"):
    """The item's description is all it takes."""

    spec: NfsSource
