# make demo   see it work: install, train, sample, evaluate, one folder
# make test   prove it: install with the tools, then every check
# make docs   the pages, in build/docs/index.html; every warning is an error

PYTHON ?= python3
VENV ?= .venv
OUT ?= demo
BIN := $(VENV)/bin
CPP := $(shell find csrc tests/cpp tests/gpu -name '*.h' -o -name '*.cpp' -o -name '*.cu' -o -name '*.cuh')

.PHONY: demo test install check lint types imports unit docs coverage

demo: $(BIN)/python
	$(BIN)/pip install -c constraints.txt '.[eval]'
	$(BIN)/netdiffus demo -o $(OUT) --force

test: install check

install: $(BIN)/python
	$(BIN)/pip install -c constraints.txt -e '.[test,dev,docs]'

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# The one list of checks; each is a target of its own.
check: lint types imports unit docs

lint:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run --Werror $(CPP)

types:
	$(BIN)/mypy

imports:
	$(BIN)/lint-imports

# A thread to each process: those of torch would wait for each other's processors. The order of the
# files is that of tests/conftest.py.
unit:
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

# The examples are run; their networks are small enough for one thread.
docs:
	OMP_NUM_THREADS=1 $(BIN)/sphinx-build -q -W --keep-going -b html docs build/docs

# No part of check: the tests take a third longer. Files of which less than 90 % of the lines run.
coverage:
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --maxprocesses 4 --dist loadfile --cov=netdiffus --cov-report=
	$(BIN)/coverage report --sort=cover | awk '/TOTAL/ || $$NF + 0 < 90'
