"""``python -m orchestrator``: a process of the tower (``orchestrator.bootstrap.ROLES``), or else the command line."""

import sys

from orchestrator.bootstrap import ROLES, main, run_role

if sys.argv[1:2] and sys.argv[1] in ROLES:
    sys.exit(run_role(sys.argv[1], sys.argv[2:]))
main()
