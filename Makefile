# One command per wish; `make help` lists them. Everything happens inside this checkout and its .venv.
.DEFAULT_GOAL := help
.PHONY: help setup demo test soak check format lint types contracts bench up down lock clean
PY := .venv/bin/python
SRC ?=

help:  ## show this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

.venv/.ready: requirements.lock pyproject.toml tools/setup.sh tools/uv.lock.txt
	@tools/setup.sh

setup: .venv/.ready  ## make .venv with everything; the CLI is .venv/bin/skyharbor

demo: setup  ## the main job on a real tree, from nothing to break-glass (SRC=/some/dir to choose it)
	@$(PY) -m tools.demo $(if $(SRC),--source "$(SRC)")

# Many tests wait for leases, clocks and processes: three at a time keep two cores busy.
test: setup  ## the whole test suite, with real servers of its own
	@$(PY) -m pytest --numprocesses 3 --dist loadscope

soak: setup  ## what takes minutes: a million names, thousands of random trees
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

bench: setup  ## beside the peers installed here (restic, borg), as ratios
	@$(PY) -m tests.benchmarks.files

up: setup  ## the embedded stack, left running
	@.venv/bin/skyharbor up --detach

down:  ## stop it
	@.venv/bin/skyharbor down

lock:  ## remake requirements.lock (needs uv)
	@uv lock --quiet
	@{ echo '# Made by: make lock'; uv export --quiet --all-extras --group dev --no-emit-project --no-header; } > requirements.lock

clean:  ## remove .venv and caches
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis
