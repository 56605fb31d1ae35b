"""A guard whose deeds leave traces: ``touch`` makes a file, ``stumble`` fails until a file is there."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping

from workers.guarding.watch import Watch


def touch(details: Mapping[str, str]) -> None:
    with open(details["path"], "a", encoding="utf-8") as trace:
        trace.write(details.get("word", "x"))


def stumble(details: Mapping[str, str]) -> None:
    touch({"path": details["tries"]})
    if os.path.getsize(details["tries"]) < int(details["until"]):
        raise RuntimeError("not yet")
    touch(details)


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as line:
        Watch(line, {"touch": touch, "stumble": stumble}).keep()
