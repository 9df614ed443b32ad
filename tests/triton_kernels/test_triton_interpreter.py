from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton", reason="backend triton: triton is not installed")


# Each kernel on awkward sizes, and what the public ops make of their tensors; more takes minutes.
SHAPES = "formula and shape3 or (True-v or False-v or backends_agree) and (shape3 or shape12)"
LENGTHS = "every_length and dtype0 and (triton-2- or triton-7- or triton-64- or triton-125-)"
RESULTS = f"{LENGTHS} or {SHAPES} or without_chance or undoes_gamma and 0.3"
TENSORS = "strides_change or nan or leading or empty or small_shapes or width or beside and 37"
NUMBERS = "anywhere and 7 or normal_by_hand or any_size or in_place and 0.3"
TESTS = f"triton and ({RESULTS} or {TENSORS} or {NUMBERS})"


def test_public_ops_under_the_interpreter() -> None:
    """Triton decides at import whether it interprets, so the tests get a process of their own."""
    folder = str(Path(__file__).parents[1] / "ops")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", folder, "-k", TESTS]
    environment = os.environ | {"TRITON_INTERPRET": "1", "PYTEST_ADDOPTS": ""}
    run = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "skipped" not in run.stdout, run.stdout
