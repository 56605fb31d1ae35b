#!/bin/sh
# Makes .venv with everything that requirements.lock pins, and Skyharbor itself in editable mode.
# Nothing outside the checkout is written, apart from the package clients' own caches. Safe to repeat.
set -eu
cd "$(dirname "$0")/.."

usable() { "$1" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11, 4) <= sys.version_info < (3, 15))' >/dev/null 2>&1; }

python=""
for candidate in ${PYTHON:-} python3 python3.13 python3.12 python3.14 python3.11; do
    if usable "$candidate"; then python=$candidate; break; fi
done
if [ -z "$python" ]; then
    echo "setup: no Python 3.11.4 to 3.14 with venv found; install one (Debian: apt-get install python3 python3-venv) or set PYTHON" >&2
    exit 1
fi

[ -x .venv/bin/python ] || "$python" -m venv .venv
# Pip verifies every hash of the lock. uv does the same, faster; without it pip does the work alone.
.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r tools/uv.lock.txt 2>/dev/null || true
if .venv/bin/python -m uv --version >/dev/null 2>&1 &&
    .venv/bin/python -m uv pip install --quiet --python .venv/bin/python --require-hashes -r requirements.lock 2>/dev/null; then
    :
else
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
fi
.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
.venv/bin/python -m compileall -q orchestrator workers shared >/dev/null
touch .venv/.ready
