from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import netdiffus
from netdiffus.ops import _backend, backends, gasf_image, normal

KERNELS = ("cpp", "cuda")


def test_backends_says_ok_or_why_not() -> None:
    status = backends()
    assert list(status) == ["torch", "cpp", "cuda"]
    assert status["torch"] == "ok"
    assert all(status.values())


def test_required_backend_fails_and_another_skips(
    demand_backend: Callable[[str, str, str], None],
) -> None:
    demand_backend("cpp", "ok", "cpp,cuda")
    with pytest.raises(pytest.fail.Exception, match=r"NETDIFFUS_REQUIRE names cpp.*not built"):
        demand_backend("cpp", "not built", "cuda,cpp")
    with pytest.raises(pytest.skip.Exception, match="backend cpp: not built"):
        demand_backend("cpp", "not built", "cuda")


def test_works_without_extension(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.rand(2, 9)
    expected = gasf_image(x, 5, backend="torch")
    monkeypatch.setattr(_backend, "_why_missing", "it was left out")
    assert torch.equal(gasf_image(x, 5), expected)
    with pytest.raises(RuntimeError, match="'cpp' cannot run: it was left out"):
        gasf_image(x, 5, backend="cpp")


def test_unknown_backend() -> None:
    with pytest.raises(ValueError, match=r"backend: expected one of .*found 'gpu'"):
        gasf_image(torch.rand(3), 2, backend="gpu")


def test_op_without_cuda_kernel() -> None:
    with pytest.raises(ValueError, match="no such kernel"):
        normal(0, torch.arange(2), 0, (3,), backend="cuda")


def test_explicit_backend_refuses_other_device(backend: str) -> None:
    if backend == "torch":
        assert _backend.choose(backend, torch.empty(3, device="meta"), KERNELS) == "torch"
        return
    with pytest.raises(ValueError, match="cannot run on a tensor on meta"):
        _backend.choose(backend, torch.empty(3, device="meta"), KERNELS)


def test_explicit_native_backend_refuses_gradient(backend: str, device: str) -> None:
    x = torch.rand(3, device=device, requires_grad=True)
    if backend == "torch":
        assert gasf_image(x, 2, backend=backend).requires_grad
        return
    with pytest.raises(ValueError, match="has no gradient"):
        gasf_image(x, 2, backend=backend)
    with torch.no_grad():
        assert gasf_image(x, 2, backend=backend).shape == (2, 2)


def test_auto_keeps_gradient() -> None:
    x = torch.rand(3, requires_grad=True)
    assert _backend.choose("auto", x, KERNELS) == "torch"
    gasf_image(x, 2).sum().backward()
    assert x.grad is not None


def test_compiles_into_one_graph() -> None:
    x = torch.rand(2, 7)
    compiled = torch.compile(lambda v: gasf_image(v, 5), fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x), gasf_image(x, 5, backend="torch"))


def test_one_importer_of_the_extension() -> None:
    root = Path(netdiffus.__file__).parent
    importing = re.compile(r"import\s+.*\b_C\b|from\s+\S*_C\s+import")
    importers = [
        str(path.relative_to(root))
        for path in sorted(root.rglob("*.py"))
        if importing.search(path.read_text())
    ]
    assert importers == ["ops/_backend.py"]
