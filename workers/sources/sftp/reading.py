"""By what description hands and shards read the same folder.

Rule of the file: values only; keys and passwords stay in their files.
"""

from __future__ import annotations

import msgspec

from shared.contracts.sources import SftpSource


class SftpReading(msgspec.Struct, frozen=True, kw_only=True, tag="sftp", tag_field="reading"):
    """The item's description is all it takes."""

    spec: SftpSource
