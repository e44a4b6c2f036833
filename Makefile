# The only commands: everything that people and CI run is a target here.
#
#   make setup    both environments: .venv (server, tests) and .venv-engine (vLLM)
#   make serve    the engine and the server on 127.0.0.1:8000;  make serve ARGS="--port 8080"
#   make test     the whole test suite;  make test ARGS="-m 'not engine' tests/server"
#   make check    format, lint, types, direction of imports
#   make clean    remove both environments and all caches; models and data stay
#
# PYTHON=python3.12 chooses the interpreter, DEVICE=cpu or DEVICE=gpu the kind of engine.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup serve test check clean

BIN := .venv/bin
export TOKENIZERS_PARALLELISM := false

help:
	@awk '!/^#/ { exit } { sub(/^# ?/, ""); print }' Makefile

setup:
	@deploy/setup.sh server
	@deploy/setup.sh engine

serve: setup
	@exec $(BIN)/burnish serve $(ARGS)

# One thread per numerical library: tests run beside an engine that has chosen its own number. Three processes on two
# cores: most tests wait, for the engine or for a clock. ARGS="-n 0" is one process, as --pdb needs.
test: setup
	@OMP_NUM_THREADS=1 exec $(BIN)/python -m pytest -n 3 --dist loadgroup --no-loadscope-reorder $(ARGS)

check:
	@deploy/setup.sh server
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_structure.py

clean:
	rm -rf .venv .venv-engine .pytest_cache .mypy_cache .ruff_cache .hypothesis build *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
