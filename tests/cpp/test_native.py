"""The native sources under sanitizers, the CUDA kernel among them: it runs on the host."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from netdiffus.ops.gasf import gasf_image_reference

HERE = Path(__file__).parent
CSRC = HERE.parents[1] / "csrc"
COMPILER = os.environ.get("CXX", "g++")
MEMORY = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
RACES = ("-fsanitize=thread",)

pytestmark = pytest.mark.skipif(not shutil.which(COMPILER), reason=f"no C++ compiler {COMPILER}")


def build(target: Path, sources: list[Path], *flags: str) -> Path:
    command = [COMPILER, "-std=c++20", "-O1", "-g", "-ffp-contract=off", "-pthread"]
    includes = ["-I", str(CSRC), "-I", str(HERE)]
    subprocess.check_call([*command, *flags, *includes, *map(str, sources), "-o", str(target)])
    return target


def run_kernel(
    program: Path, x: np.ndarray, size: int, gamma: float, blocks: int
) -> subprocess.CompletedProcess[bytes]:
    arguments = [*map(str, x.shape), str(size), str(gamma), str(blocks)]
    return subprocess.run([program, *arguments], input=x.tobytes(), capture_output=True)


@pytest.fixture(scope="module", params=[MEMORY, RACES], ids=["memory", "races"])
def kernel(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("kernel") / "gasf_cuda"
    return build(target, [HERE / "gasf_cuda.cpp"], *request.param)


@pytest.mark.parametrize(
    ("batch", "n", "size", "gamma", "blocks"),
    [
        (1, 1, 1, 1.0, 1),
        (3, 7, 5, 0.25, 3),
        (2, 50, 33, 1.0, 1),  # one block strides over every tile
        (1, 70, 129, 0.3, 4),  # enlarged, and a second column of tiles one pixel wide
        (1, 500, 128, 1.0, 4),
    ],
)
def test_cuda_kernel(
    kernel: Path, batch: int, n: int, size: int, gamma: float, blocks: int
) -> None:
    x = np.random.default_rng(0).random((batch, n), dtype=np.float32)
    result = run_kernel(kernel, x, size, gamma, blocks)
    assert result.returncode == 0, result.stderr.decode()
    found = np.frombuffer(result.stdout, np.float32).reshape(batch, size, size)
    expected = gasf_image_reference(torch.from_numpy(x).double(), size, gamma)
    np.testing.assert_allclose(found, expected, rtol=0, atol=3e-7)


def test_race_check_can_fail(tmp_path: Path) -> None:
    program = build(tmp_path / "gasf_cuda", [HERE / "gasf_cuda.cpp"], *RACES, "-DDROP_BARRIERS")
    result = run_kernel(program, np.ones((2, 50), np.float32), 33, 1.0, 1)
    assert b"data race" in result.stderr
    assert result.returncode != 0


def test_cpu_kernels(tmp_path: Path) -> None:
    sources = [HERE / "cpu_kernels.cpp", CSRC / "cpu/gasf.cpp", CSRC / "cpu/noise.cpp"]
    subprocess.check_call([build(tmp_path / "cpu_kernels", sources, *MEMORY, "-fopenmp")])
