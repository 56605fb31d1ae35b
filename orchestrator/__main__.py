"""``python -m orchestrator``: a process of the tower (``api``, ``loops``, ``auditor``), or else the command line."""

import sys

from orchestrator.bootstrap import main, run_role

if sys.argv[1:2] in (["api"], ["loops"], ["auditor"], ["supervise"]):
    sys.exit(run_role(sys.argv[1], sys.argv[2:]))
main()
