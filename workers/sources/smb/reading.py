"""By what description hands and shards read the same share at the same moment.

Rule of the file: values only; the password stays in its file.
"""

from __future__ import annotations

import msgspec

from shared.contracts.sources import SmbSource


class SmbReading(msgspec.Struct, frozen=True, kw_only=True, tag="smb", tag_field="reading"):
    """``moment`` is the FILETIME of the previous version that is read, 0 for the share as it is.

    ``marked``: the server keeps no change time (``workers.sources.smb.marks``). ``audit``: we may read SACLs.
    """

    spec: SmbSource
    moment: int = 0
    marked: bool = True
    audit: bool = False
