# make demo   sets everything up and runs the demo sweep        make setup   only the virtual environment in .venv
# make check  ruff, type check, import contracts                make test    all tests but those that need a GPU
# make test-fast   the unit tests that take less than two seconds each: for the loop of edit and run
# make parity  golden scores of VBench's own code, in their own environment (10 minutes; ../shared, Python 3.10 or 3.11)
# make gpu     GPU tests and measurements on a machine with a CUDA device, 10 minutes (docs/gpu.md); SMOKE=1 make gpu tries the steps on a CPU
# Every target is safe to repeat; setup does nothing while pyproject.toml and constraints.txt stay the same.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup demo test test-fast check parity gpu

BIN := .venv/bin

help:
	@sed -n 's/^# //p' Makefile

setup:
	@PYTHON="$(PYTHON)" .ci/setup

demo: setup
	$(BIN)/longtake run jobs/sweeps/demo.yaml

# Tests that share a fixture run in one process (tests/conftest.py); PROCESSES=1 for one after another.
PROCESSES ?= 2
PYTEST := $(BIN)/python -m pytest -n $(PROCESSES) --dist loadgroup --no-loadscope-reorder

test: setup
	$(PYTEST) -m "not gpu"

test-fast: setup
	$(PYTEST) -m "unit and not slow"

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy -p longtake
	PYTHONPATH=. $(BIN)/lint-imports

parity: setup
	@PYTHON="$(PYTHON)" tests/parity/record

# The time limits of the steps are for an H100; PACE=3 allows slower cards three times as long.
gpu: setup
	@PYTHON=$(CURDIR)/$(BIN)/python BUDGET=$${BUDGET:-1800} PACE=$${PACE:-3} bash tests/gpu/run.sh
