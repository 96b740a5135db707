# Membrane's own commands; `make help` lists them. Everything is installed under .venv*.

PYTHON ?= python3
VENV := .venv
REFERENCE := .venv-reference
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help demo test check parity ci benchmarks clean

help:  ## list these commands
	@sed -n 's/^\([a-z]*\):.*## /\1	/p' $(MAKEFILE_LIST)

demo: $(VENV)/running  ## set up, then enrol and verify synthetic voices
	$(BIN)/python scripts/demo.py

test: $(VENV)/testing  ## the whole test suite
	$(BIN)/python -m pytest

check: $(VENV)/testing  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

parity: $(REFERENCE)/ready  ## compare the encoder with the Resemblyzer package
	$(REFERENCE)/bin/python -m pytest -p no:cacheprovider -W ignore -m parity tests/parity

ci: check test parity  ## what every change must pass

clean:  ## remove what these commands made
	rm -rf $(VENV) $(REFERENCE) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Membrane needs Python 3.11 or newer: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)

# Stamps: a set of requirements is installed again only when its file, or the version, has changed.
$(VENV)/running: $(VENV)/bin/python requirements.txt setup.cfg membrane/__init__.py
	$(BIN)/pip install --quiet -r requirements.txt
	$(BIN)/pip install --quiet --no-deps --editable .
	@touch $@

$(VENV)/testing: $(VENV)/running requirements-dev.txt
	$(BIN)/pip install --quiet -r requirements-dev.txt
	@touch $@

$(REFERENCE)/ready: requirements-reference.txt
	$(PYTHON) -m venv $(REFERENCE)
	$(REFERENCE)/bin/pip install --quiet -r requirements-reference.txt
	@touch $@
