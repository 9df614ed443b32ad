# make demo   see it work: install, train, sample, evaluate, one folder
# make test   prove it: install with the tools, then every check
# make lock   requirements.lock again, after a change of constraints.txt
# make docs   the pages, in build/docs/index.html; every warning is an error

PYTHON ?= python3
VENV ?= .venv
OUT ?= demo
BIN := $(VENV)/bin
CPP := $(shell find csrc tests/cpp tests/gpu -name '*.h' -o -name '*.cpp' -o -name '*.cu' -o -name '*.cuh')

.PHONY: demo test install lock check lint types imports unit docs coverage licences sbom fuzz matrix

demo: $(BIN)/python
	$(BIN)/pip install -c constraints.txt '.[eval]'
	$(BIN)/netdiffus demo -o $(OUT) --force

test: install check

# uv takes a fifth of pip's time; pip does it where uv does not find what pip is told of by its settings.
LOCKED := --require-hashes --no-deps --only-binary :all: -r
install: $(BIN)/python
	mkdir -p build
	sed -n '/^uv==/,/[^\\]$$/p' requirements.lock >build/uv.txt
	$(BIN)/pip install $(LOCKED) build/uv.txt
	$(BIN)/uv pip install -q --python $(BIN)/python $(LOCKED) requirements.lock || \
		$(BIN)/pip install $(LOCKED) requirements.lock
	$(BIN)/pip install -c constraints.txt torch
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/pip install --no-build-isolation --no-deps -e .
	$(BIN)/pip check

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# Each version with its hashes, for all supported Pythons. Not of torch: it has one build for CPUs and
# several for CUDA, from different places, of which constraints.txt says the version alone; nor of the
# libraries that only its builds for CUDA need.
CUDA := bindings pathfinder toolkit
NVIDIA := cublas cuda-cupti cuda-nvrtc cuda-runtime cudnn-cu13 cufft cufile curand cusolver cusparse \
	cusparselt-cu13 nccl-cu13 nvjitlink nvshmem-cu13 nvtx
lock:
	$(BIN)/uv pip compile pyproject.toml --extra test --extra dev --extra docs -c constraints.txt \
		--universal --python-version 3.10 --prerelease if-necessary --generate-hashes --no-annotate --quiet \
		$(addprefix --no-emit-package ,torch $(addprefix cuda-,$(CUDA)) $(addprefix nvidia-,$(NVIDIA))) \
		--custom-compile-command 'make lock' -o requirements.lock

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

# No part of check, but of CI: the licences of all that is installed, and a list of its parts (CycloneDX),
# which the tool would take 20 seconds to validate by its own schema.
licences:
	$(BIN)/python .ci/licences.py

sbom:
	mkdir -p build
	$(BIN)/cyclonedx-py environment --no-validate --pyproject pyproject.toml --output-reproducible \
		-o build/sbom.cdx.json $(BIN)/python

# Readers of files from strangers, each so many seconds; CPython 3.11 to 3.13, for which atheris is.
# Beside them the C++ of the capture reader, under sanitizers; it needs clang++.
SECONDS ?= 600
fuzz:
	$(BIN)/pip install --require-hashes --no-deps --only-binary :all: -r tests/fuzz/requirements.txt
	$(BIN)/python tests/cpp/libfuzzer.py $(SECONDS) & native=$$!; \
	$(BIN)/python tests/fuzz/fuzz.py $(SECONDS) $(READERS); python=$$?; \
	wait $$native && exit $$python

# The tests under each instruction set that this processor has, and with one and two threads.
TESTS ?= tests
matrix:
	.ci/matrix $(BIN)/python $(TESTS)
