"""``python -m workers``: a worker process, told what to do by its environment (``workers.settings``)."""

import sys

from workers.bootstrap import main

sys.exit(main())
