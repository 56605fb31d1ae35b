"""The options of ``serve`` and ``mount``: the operator's command takes them and passes them on to the reader program.

Rule of the file: declarations only; what they mean is the reader's affair (``workers.break_glass``).
"""

from __future__ import annotations

from typing import Annotated

import typer

For = Annotated[str, typer.Option("--for", metavar="TIME", help="When it ends by itself: 90s, 30m, 8h or 2d.")]
Nbd = Annotated[str | None, typer.Option(metavar="ADDR", help="Where to listen: unix:PATH or HOST:PORT.")]
Iscsi = Annotated[
    str | None, typer.Option(metavar="HOST:PORT", help="Serve by iSCSI instead, through tgtd; a secret is made for it.")
]
ServedPaths = Annotated[
    list[str] | None, typer.Option("--path", metavar="PATH", help="Serve this file of the point; may be repeated.")
]
TlsFile = Annotated[str | None, typer.Option(metavar="FILE")]
TlsCa = Annotated[
    str | None, typer.Option(metavar="FILE", help="Clients need a certificate that this authority has signed.")
]
Insecure = Annotated[
    bool, typer.Option("--insecure", help="Let other machines connect without certificates, or by iSCSI.")
]
AllowOther = Annotated[
    bool, typer.Option("--allow-other", help="Let other users in, as far as the modes of the files allow it.")
]
