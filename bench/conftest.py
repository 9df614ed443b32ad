"""One way to compare two implementations, and to keep what was found."""

from __future__ import annotations

import json
import platform
import re
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from netdiffus.ops import isa

RECORDS = Path(__file__).parent / "records"
PAIRS = 21
SLICE = 10e-3  # seconds of one measurement at least: several turns of a busy scheduler

Ratio = Callable[..., float]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--record", action="store_true", help="write bench/records/<machine>.json")


@pytest.fixture
def ratio(benchmark: Any, request: pytest.FixtureRequest) -> Ratio:
    """``ratio(ours, other, bar=, guard=)``: how many times as fast as the other ours is.

    ``work`` is how many times as much ours does in a call as the other does.

    Median of ratios taken in turns within one run, so that other load hits both alike. ``bar`` is
    what the project set out to reach, ``guard`` about half of what was measured: below it the test
    fails.
    """

    def measure(
        ours: Callable[[], object],
        other: Callable[[], object],
        *,
        bar: float,
        guard: float,
        work: float = 1,
        pairs: int = PAIRS,
    ) -> float:
        benchmark.pedantic(ours, rounds=min(pairs, 5), iterations=_calls(ours))
        found = work * interleaved(ours, other, pairs)
        benchmark.extra_info["ratio"] = found
        print(f"\n{request.node.name}: {found:.2f} (bar {bar:g}, guard {guard:g})")
        _ratios(request.config)[request.node.name] = {"ratio": round(found, 2), "bar": bar}
        assert found >= guard, f"{found:.2f} times as fast, below the guard of {guard}"
        return found

    return measure


def interleaved(
    ours: Callable[[], object], other: Callable[[], object], pairs: int = PAIRS
) -> float:
    """Median over pairs of the time of `other` over that of `ours`."""
    calls, other_calls = _calls(ours), _calls(other)
    taken = [(_seconds(ours, calls), _seconds(other, other_calls)) for _ in range(pairs)]
    return statistics.median(second / first for first, second in taken)


def _calls(function: Callable[[], object]) -> int:
    """How many make a slice, after one to warm up."""
    function()
    once = _seconds(function, 1)
    return max(1, round(SLICE / (once if once > SLICE else _seconds(function, 5))))


def _seconds(function: Callable[[], object], calls: int) -> float:
    """Seconds a call takes, as the mean of so many, with what they leave a GPU to do."""
    _wait()
    start = time.perf_counter()
    for _ in range(calls):
        function()
    _wait()
    return (time.perf_counter() - start) / calls


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


@pytest.fixture(scope="session", autouse=True)
def _record(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if request.config.getoption("--record"):
        write_record(_machine(), _ratios(request.config))


def _ratios(config: pytest.Config) -> dict[str, dict[str, float]]:
    return config.stash.setdefault(_KEY, {})


_KEY = pytest.StashKey[dict[str, dict[str, float]]]()


def _machine() -> dict[str, str | int]:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if platform.system() == "Linux" else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": names[0] if names else platform.machine(),
        "instruction set": isa(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
    }


def write_record(machine: dict[str, str | int], ratios: dict[str, dict[str, float]]) -> None:
    """Writes the ratios; what other benchmarks wrote for the machine stays."""
    name = f"{machine['cpu']} {machine['instruction set']} {machine['threads']} threads"
    if machine["gpu"] != "none":
        name = f"{name} {machine['gpu']}"
    path = RECORDS / f"{re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-')}.json"
    before = json.loads(path.read_text())["ratios"] if path.exists() else {}
    RECORDS.mkdir(exist_ok=True)
    found = machine | {"ratios": dict(sorted((before | ratios).items()))}
    path.write_text(json.dumps(found, indent=1) + "\n")
