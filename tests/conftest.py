from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from unittest import mock

import pytest
from hypothesis import settings

from netdiffus.ops import _backend, backends

# Compiling what pyts imports takes half a minute, and nothing here runs it.
os.environ.setdefault("NUMBA_DISABLE_JIT", "1")
# A slow machine is no failure, and one seed gives one result.
settings.register_profile("netdiffus", deadline=None, derandomize=True)
settings.load_profile("netdiffus")

# Folders and files of more than half a minute: begun last, they would keep one process busy alone.
LONG = {"attacks", "benches", "cpp", "evaluation", "faults", "gpu", "training", "triton_kernels"}
LONG |= {"test_demo.py", "test_docs.py", "test_readme.py"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: LONG.isdisjoint(item.path.parts))


def _demand_backend(name: str, status: str, required: str) -> None:
    if status == "ok":
        return
    if name in required.split(","):
        pytest.fail(f"NETDIFFUS_REQUIRE names {name}, which cannot run: {status}")
    pytest.skip(f"backend {name}: {status}")


@pytest.fixture(scope="session")
def demand_backend() -> Callable[[str, str, str], None]:
    return _demand_backend


@pytest.fixture(params=["torch", "cpp", "cuda", "triton"])
def backend(request: pytest.FixtureRequest) -> str:
    """Each backend; one that cannot run skips, or fails where NETDIFFUS_REQUIRE names it."""
    name: str = request.param
    _demand_backend(name, backends()[name], os.environ.get("NETDIFFUS_REQUIRE", ""))
    return name


@pytest.fixture
def device(backend: str) -> str:
    if backend == "triton" and os.environ.get("TRITON_INTERPRET") != "1":
        return "cuda"
    return "cuda" if backend == "cuda" else "cpu"


def _quick_judges() -> Iterator[None]:
    """Evaluations draw once and train small classifiers: where their figures are not looked at."""
    with (
        mock.patch("netdiffus.evaluation.evaluator.REPEATS", 1),
        mock.patch("netdiffus.evaluation.metrics.classifiers.TREES", 5),
        mock.patch("netdiffus.evaluation.columns.TREES", 5),
        mock.patch("netdiffus.attacks.all_attacks.TREES", 10),
        mock.patch("netdiffus.evaluation.early.TREES", 2),
        mock.patch("netdiffus.evaluation.early.CUTS", 2),
        mock.patch("netdiffus.evaluation.metrics.classifiers.EPOCHS", 2),
        mock.patch("netdiffus.evaluation.metrics.cnn.STEPS", 40),
    ):
        yield


def _quick_reports() -> Iterator[None]:
    """Reports as quick, without plots: where it is looked at that there is one."""
    report = "netdiffus.evaluation.report"
    empty = mock.Mock(return_value="")
    with (
        contextmanager(_quick_judges)(),
        mock.patch(f"{report}.plots.svg", empty),
        mock.patch(f"{report}.summary_plots.svg", empty),
    ):
        yield


quick_judges = pytest.fixture(_quick_judges)
quick_judges_of_module = pytest.fixture(_quick_judges, scope="module")
quick_reports = pytest.fixture(_quick_reports)
quick_reports_of_module = pytest.fixture(_quick_reports, scope="module")


@pytest.fixture(params=["baseline", "x86-64-v3", "x86-64-v4"])
def instruction_set(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each instruction set that the processor has, in force while the test runs."""
    _demand_backend("cpp", backends()["cpp"], os.environ.get("NETDIFFUS_REQUIRE", ""))
    kernels, name = _backend._C, request.param
    if name not in kernels.isas():
        pytest.skip(f"this processor lacks {name}")
    before = kernels.isa()
    kernels.set_isa(name)
    yield name
    kernels.set_isa(before)
