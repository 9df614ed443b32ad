"""How fast the ops are beside their torch references, and beside what people use today."""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable

import pytest
import torch

from netdiffus.ops import gasf_image, normal


def interleaved(first: Callable[[], object], second: Callable[[], object]) -> float:
    """Median time of `second` over that of `first`, taken in turns: other load hits both alike."""
    ratios = []
    for _ in range(7):
        start = time.perf_counter()
        first()
        middle = time.perf_counter()
        second()
        ratios.append((time.perf_counter() - middle) / (middle - start))
    return statistics.median(ratios)


@pytest.mark.parametrize("gamma", [1.0, 0.25, 0.3])
@pytest.mark.parametrize("backend", ["cpp", "torch"])
def test_gasf_image(benchmark, backend: str, gamma: float) -> None:
    x, out = torch.rand(256, 500), torch.empty(256, 128, 128)
    benchmark(lambda: gasf_image(x, 128, gamma=gamma, out=out, backend=backend))


@pytest.mark.parametrize("backend", ["cpp", "torch"])
def test_normal(benchmark, backend: str) -> None:
    index, out = torch.arange(256), torch.empty(256, 64, 64)
    benchmark(lambda: normal(0, index, 0, (64, 64), out=out, backend=backend))


def test_call_on_tiny_input(benchmark) -> None:
    x = torch.rand(4)
    benchmark(lambda: gasf_image(x, 4))


def test_ratios(capsys: pytest.CaptureFixture[str]) -> None:
    import cv2

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pyts.image import GramianAngularField

    x, out = torch.rand(256, 500), torch.empty(256, 128, 128)
    field = GramianAngularField(method="summation", sample_range=None)

    def native() -> None:
        gasf_image(x, 128, out=out, backend="cpp")

    def reference() -> None:
        gasf_image(x, 128, out=out, backend="torch")

    def native_few() -> None:
        for _ in range(100):
            gasf_image(x[:4], 128, out=out[:4], backend="cpp")

    def pyts_opencv() -> None:
        for image in field.transform(x[:4].numpy()):
            cv2.resize(image, (128, 128), interpolation=cv2.INTER_AREA)

    for warm_up in (native, reference, native_few, pyts_opencv):
        warm_up()
    with capsys.disabled():
        print("\ngasf_image 500 -> 128, one run, in turns; times as fast as")
        print(f"  torch reference, batch 256: {interleaved(native, reference):.1f}")
        print(f"  pyts + OpenCV, batch 4: {100 * interleaved(native_few, pyts_opencv):.0f}")
