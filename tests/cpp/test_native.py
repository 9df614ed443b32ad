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

pytestmark = pytest.mark.skipif(not shutil.which(COMPILER), reason=f"no C++ compiler {COMPILER}")


def build(target: Path, sources: list[Path], *flags: str) -> Path:
    command = [COMPILER, "-std=c++20", "-O1", "-g1", "-ffp-contract=off", "-pthread"]
    includes = ["-I", str(CSRC), "-I", str(HERE)]
    subprocess.check_call([*command, *flags, *includes, *map(str, sources), "-o", str(target)])
    return target


def test_cpu_kernels(tmp_path: Path) -> None:
    sources = [HERE / "cpu_kernels.cpp", *sorted((CSRC / "cpu").glob("*.cpp"))]
    subprocess.check_call([build(tmp_path / "cpu_kernels", sources, *MEMORY, "-fopenmp")])
