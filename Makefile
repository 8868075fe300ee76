# `make` alone lists the targets. Everything runs in .venv, made once and again when the requirements change.

SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
# The first Python that is new enough; `make PYTHON=/path/to/python3` to choose another.
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
SOURCES := oriole broker edge_node firmware_sim
ARGS ?=

.PHONY: help demo scenarios test check format docs faults faults-selftest bench clean
.DEFAULT_GOAL := help

help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "  make %-16s %s\n", $$1, $$2 }'

demo: $(VENV)/.installed ## A broker, two edges and 120 devices for a minute (DEMO_SECONDS=15 for less)
	@$(BIN)/oriole demo $(ARGS)

scenarios: $(VENV)/.installed ## Every scenario that comes along, in virtual time and on real sockets (a quarter of an hour)
	@$(BIN)/oriole fleet all $(ARGS)

test: $(VENV)/.installed-dev ## All tests, on two cores (ARGS="-k topics" for some, ARGS="-n 0" one by one)
	@$(BIN)/python -m pytest -n 2 --dist loadfile $(ARGS)

check: $(VENV)/.installed-dev ## What CI runs: lint, format, types, import rules, then the tests
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/python -m pytest -q tests/architecture
	@$(MAKE) --no-print-directory test

format: $(VENV)/.installed-dev ## Format the source and sort its imports
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

docs: $(VENV)/.installed ## Write the pages that are made from the code's own types and tables
	@$(BIN)/python -m oriole.config_reference > docs/configuration.md
	@$(BIN)/python -m firmware_sim.energy.reference > docs/energy.md
	@$(BIN)/oriole fleet schema > docs/scenario.schema.json
	@$(BIN)/python reference/vectors_header.py > docs/serial-vectors.h

faults: $(VENV)/.installed-dev ## Kill, cut off and fill up brokers and edges, and see that they lose nothing (SCHEDULES=50 SEED=1)
	@PYTHONPATH=tests $(BIN)/python -m faults --seed $(or $(SEED),1) --schedules $(or $(SCHEDULES),50) $(ARGS)

faults-selftest: $(VENV)/.installed-dev ## See that nodes which do lose something are caught by that
	@PYTHONPATH=tests $(BIN)/python -m faults --selftest $(ARGS)

bench: $(VENV)/.installed ## Measure this broker, and others where installed (ARGS="--quick")
	@$(BIN)/oriole bench $(ARGS)

clean: ## Remove what was built and cached; .venv stays
	rm -rf build dist out demo-report.html *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find $(SOURCES) tests benchmarks -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

# Debian's python3 may come without ensurepip: then the pip beside it fills the environment.
$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "oriole needs Python 3.11 or later; none was found on PATH" >&2; exit 1; }
	@echo "making $(VENV) with $(PYTHON)"
	@$(PYTHON) -m venv $(VENV) >/dev/null 2>&1 || { \
		$(PYTHON) -m venv --clear --without-pip $(VENV) && \
		$(PYTHON) -m pip --quiet --python $(BIN)/python install pip; }

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	@echo "installing oriole into $(VENV)"
	@$(PIP) install --editable .
	@touch $@

$(VENV)/.installed-dev: requirements-dev.txt $(VENV)/.installed
	@$(PIP) install --requirement requirements-dev.txt
	@touch $@
