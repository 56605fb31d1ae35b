"""Writes into several files in turns, for ever: ``python writer.py FILE…``; the first one is never behind the others.

It holds an open file that has no name any more as well, as databases and logs do: a file system that is frozen with one
has something to do when it is mounted again.
"""

import itertools
import os
import sys
import time

if __name__ == "__main__":
    files = [os.open(path, os.O_RDWR | os.O_CREAT, 0o600) for path in sys.argv[1:]]
    nameless = os.open(sys.argv[1] + ".gone", os.O_RDWR | os.O_CREAT, 0o600)
    os.unlink(sys.argv[1] + ".gone")
    for turn in itertools.count(1):
        for file in (*files, nameless):
            os.pwrite(file, b"%012d" % turn, 0)
        time.sleep(0.02)
