# Everything here sets itself up: it needs Python 3.11 or later, make and a package registry.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test check torture bench clean

demo: $(VENV)/jax  ## Train on a drawn set of leaves, in about two minutes
	$(BIN)/infeed demo

test: $(VENV)/check  ## All tests but the slow ones
	$(BIN)/python -m pytest -m "not slow"

check: $(VENV)/check  ## Lint, format, types, and the rules of the house
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/house

torture: $(VENV)/check  ## The slow and the destructive tests
	$(BIN)/python -m pytest -m slow

bench: $(VENV)/check  ## The benchmarks that need nothing but drawn pictures
	$(BIN)/python benchmarks/first_epoch.py
	$(BIN)/python benchmarks/handover.py

$(VENV)/%: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) -e ".[$*]"
	touch $@

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
