# Everything here sets itself up: it needs Python 3.11 or later, make and a package registry.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALL := -m pip install --quiet --disable-pip-version-check -c constraints.txt

# TensorFlow and PyTorch, a gigabyte and more, stay out of the venv that everybody needs.
BACKENDS_VENV ?= .venv-backends
BACKENDS := $(BACKENDS_VENV)/bin/python

.PHONY: demo test test-numpy test-backends check torture bench fuzz clean

demo: $(VENV)/jax  ## Train on a drawn set of leaves, in about two minutes
	$(BIN)/infeed demo

test: $(VENV)/check  ## All tests but the slow ones
	$(BIN)/python -m pytest -m "not slow and not alone" -n auto --maxprocesses 4
	$(BIN)/python -m pytest -m "alone and not slow"

# The oldest numpy that pyproject.toml allows; `make test` runs the same with the newest.
OLDEST_NUMPY := 1.26.0
NUMPY_BIN := $(VENV)-numpy/bin

test-numpy: $(VENV)-numpy/$(OLDEST_NUMPY)  ## The golden orders, on the oldest numpy
	PYTHONPATH=src $(NUMPY_BIN)/python -m pytest tests/order/test_order_golden.py

$(VENV)-numpy/$(OLDEST_NUMPY): constraints.txt
	$(PYTHON) -m venv $(VENV)-numpy
	grep -v '^numpy==' constraints.txt > $(VENV)-numpy/constraints.txt
	$(NUMPY_BIN)/python -m pip install --quiet --disable-pip-version-check \
		-c $(VENV)-numpy/constraints.txt numpy==$(OLDEST_NUMPY) pytest hypothesis
	touch $@

check: $(VENV)/check  ## Lint, format, types, and the rules of the house
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/house

test-backends: $(BACKENDS_VENV)/installed  ## What trainers see, on TensorFlow and PyTorch too
	KERAS_BACKEND=tensorflow $(BACKENDS) -m pytest tests/trainers -m "not slow"
	KERAS_BACKEND=torch $(BACKENDS) -m pytest tests/trainers -m "not slow"
	KERAS_BACKEND=jax $(BACKENDS) -m pytest tests/trainers -k "tf_data or torch_loader or fast_paths"

torture: $(VENV)/check  ## The slow and the destructive tests
	$(BIN)/python -m pytest -m slow

bench: $(VENV)/check  ## The benchmarks that need nothing but drawn pictures
	$(BIN)/python benchmarks/first_epoch.py
	$(BIN)/python benchmarks/handover.py
	$(BIN)/python benchmarks/waiting.py
	$(BIN)/python benchmarks/verdicts.py
	$(BIN)/python benchmarks/cached_epochs.py
	$(BIN)/python benchmarks/cache_filling.py
	$(BIN)/python benchmarks/own_cost.py

# TARGET names a file of fuzz/. `make fuzz TARGET=headers SECONDS=60`
TARGET ?= headers
SECONDS ?= 60
FUZZ_VENV ?= .venv-fuzz

fuzz: $(FUZZ_VENV)/installed  ## Inputs that no example would have thought of, for SECONDS
	mkdir -p fuzz/corpus/$(TARGET) fuzz/found
	$(FUZZ_VENV)/bin/python fuzz/$(TARGET).py fuzz/corpus/$(TARGET) -max_total_time=$(SECONDS) \
		-max_len=16384 -timeout=30 -artifact_prefix=fuzz/found/$(TARGET)- -print_final_stats=1

$(FUZZ_VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(FUZZ_VENV)
	$(FUZZ_VENV)/bin/python $(INSTALL) -e ".[fuzz]"
	touch $@

$(VENV)/%: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python $(INSTALL) -e ".[$*]"
	touch $@

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# tf_keras asks for `tensorflow`, which is tensorflow-cpu once more and larger.
$(BACKENDS_VENV)/installed: pyproject.toml constraints.txt | $(BACKENDS)
	$(BACKENDS) $(INSTALL) -e ".[test,torch,tensorflow]"
	$(BACKENDS) $(INSTALL) --no-deps tf_keras
	touch $@

$(BACKENDS):
	$(PYTHON) -m venv $(BACKENDS_VENV)

clean:
	rm -rf $(VENV) $(VENV)-numpy $(VENV)-peers $(BACKENDS_VENV) $(FUZZ_VENV) fuzz/corpus fuzz/found .pytest_cache .mypy_cache .ruff_cache .hypothesis
