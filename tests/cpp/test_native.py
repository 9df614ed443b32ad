"""The CPU kernels under sanitizers."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
CSRC = HERE.parents[1] / "csrc"
COMPILER = os.environ.get("CXX", "g++")
MEMORY = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
# Compiling takes most of the time: without optimization it takes half, and keeps every access.
FLAGS = ("-std=c++20", "-O0", "-g1", "-ffp-contract=off", "-fopenmp", "-Wl,--wrap=sysconf")

pytestmark = pytest.mark.skipif(not shutil.which(COMPILER), reason=f"no C++ compiler {COMPILER}")


def test_cpu_kernels(tmp_path: Path) -> None:
    sources = [HERE / "cpu_kernels.cpp", *sorted((CSRC / "cpu").glob("*.cpp"))]
    program = tmp_path / "cpu_kernels"
    command = [COMPILER, *FLAGS, *MEMORY, "-I", CSRC, *sources, "-o", program]
    subprocess.check_call(command)
    subprocess.check_call([program])
