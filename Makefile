# One command per wish; `make help` lists them. Everything happens inside this checkout and its .venv.
.DEFAULT_GOAL := help
.PHONY: help setup demo test servers soak check format lint types contracts bench bench-quick bench-tower bench-workloads up down lock clean
PY := .venv/bin/python
WORKLOADS := --extra disks --extra mount --extra mysql --extra postgres --extra shares
SRC ?=
ARGS ?=

help:  ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-11s %s\n", $$1, $$2}'

.venv/.ready: requirements.lock pyproject.toml tools/setup.sh tools/uv.lock.txt
	@tools/setup.sh

setup: .venv/.ready  ## make .venv with everything; the CLI is .venv/bin/skyharbor

demo: setup  ## the main job on a real tree, from nothing to break-glass (SRC=/some/dir to choose it)
	@$(PY) -m tools.demo $(if $(SRC),--source "$(SRC)")

# Many tests wait for leases, clocks and processes: three at a time keep two cores busy.
test: setup servers  ## the whole test suite, with real servers of its own
	@$(PY) -m pytest --numprocesses 3 --dist loadscope --no-loadscope-reorder

servers:  ## the servers that tests start, from Debian's packages, as root where there is apt-get
	@tools/servers.sh

soak: setup servers  ## what takes minutes: a million names, thousands of random trees, long storms
	@$(PY) -m pytest -m soak -rs

check: setup format lint types contracts test  ## what CI runs

format: setup
	@$(PY) -m ruff format --check .

lint: setup
	@$(PY) -m ruff check .

types: setup
	@$(PY) -m mypy

contracts: setup
	@.venv/bin/lint-imports

# As root, for the rows with a cold cache. ARGS="--only restore,image --runs 1" and such; --help lists them.
bench: setup  ## goals of speed beside restic and borg, and those of the tower, as tables; about an hour
	@$(PY) -m tests.benchmarks --million $(ARGS)
	@$(PY) -m tests.benchmarks.tower
	@$(MAKE) --no-print-directory bench-workloads

bench-workloads: setup servers  ## machines, PostgreSQL, shares, files out of disks, beside their own tools; about ten minutes
	@$(PY) -m tests.benchmarks.workloads.vm 1024 3
	@$(PY) -m tests.benchmarks.workloads.vm_shards 1024 3
	@$(PY) -m tests.benchmarks.workloads.itemlevel
	@$(PY) -m tests.benchmarks.workloads.postgres
	@$(PY) -m tests.benchmarks.workloads.smb

bench-tower: setup  ## the tower alone: admission, the midnight herd, long lists, the running stack; minutes
	@$(PY) -m tests.benchmarks.tower $(ARGS)

bench-quick: setup  ## three rows of it on a smaller tree, in minutes
	@$(PY) -m tests.benchmarks --quick $(ARGS)

up: setup  ## the embedded stack, left running
	@.venv/bin/skyharbor up --detach

down:  ## stop it
	@.venv/bin/skyharbor down

lock:  ## remake requirements.lock, and the image's part of it (needs uv)
	@uv lock --quiet
	@{ echo '# Made by: make lock'; uv export --quiet --all-extras --group dev --no-emit-project --no-header; } > requirements.lock
	@{ echo '# Made by: make lock'; uv export --quiet --extra orchestrator --extra s3 $(WORKLOADS) --no-dev --group build --no-emit-project --no-header; } > deploy/images/requirements.lock

clean:  ## remove .venv and caches
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis
