"""``python -m workers.break_glass``."""

import sys

from workers.break_glass.program import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
