# make demo   see it work: install, train, sample, evaluate, one folder
# make test   prove it: install with the tools, then every check

PYTHON ?= python3
VENV ?= .venv
OUT ?= demo
BIN := $(VENV)/bin
CPP := $(shell find csrc tests/cpp tests/gpu -name '*.h' -o -name '*.cpp' -o -name '*.cu' -o -name '*.cuh')

.PHONY: demo test install check lint types imports unit

demo: $(BIN)/python
	$(BIN)/pip install -c constraints.txt '.[eval]'
	$(BIN)/netdiffus demo -o $(OUT) --force

test: install check

install: $(BIN)/python
	$(BIN)/pip install -c constraints.txt -e '.[test,dev]'

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# The one list of checks; each is a target of its own.
check: lint types imports unit

lint:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run --Werror $(CPP)

types:
	$(BIN)/mypy

imports:
	$(BIN)/lint-imports

# A thread to each process: those of torch would wait for each other's processors.
unit:
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --maxprocesses 4 --dist loadfile
