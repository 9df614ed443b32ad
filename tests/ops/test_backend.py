from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

import netdiffus
from netdiffus.ops import _backend, backends, gasf, gasf_decode, gasf_image, isa

KERNELS = {name: (torch.float32,) for name in ("cpp", "cuda", "triton")}


def test_backends_says_ok_or_why_not() -> None:
    status = backends()
    assert list(status) == ["torch", "cpp", "cuda", "triton"]
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


def test_an_old_triton_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    triton = pytest.importorskip("triton", reason="backend triton: triton is not installed")
    monkeypatch.setattr(_backend, "_interpreted", lambda: True)
    for found, said in (
        ("3.2.0", "triton 3.2.0 is too old: it must be 3.3 or later"),
        ("4.0", "ok"),
    ):
        monkeypatch.setattr(triton, "__version__", found)
        assert _backend._triton_status.__wrapped__() == said


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


def test_op_without_such_a_kernel() -> None:
    with pytest.raises(ValueError, match=r"no such kernel; use one of 'cpp', 'torch'"):
        _backend.choose("cuda", torch.empty(3), {"cpp": (torch.float32,)})


def test_explicit_backend_refuses_other_device(backend: str) -> None:
    meta = torch.empty(3, device="meta")
    if backend == "torch":
        assert _backend.choose(backend, meta, KERNELS) == "torch"
        return
    with pytest.raises(ValueError, match="cannot run on a tensor on meta"):
        _backend.choose(backend, meta, KERNELS)


def test_explicit_backend_refuses_other_dtype(backend: str, device: str) -> None:
    x = torch.empty(3, dtype=torch.float64, device=device)
    assert _backend.choose("auto", x, KERNELS) == "torch"
    if backend == "torch":
        assert _backend.choose(backend, x, KERNELS) == "torch"
        return
    with pytest.raises(ValueError, match=r"expected torch.float32, found torch.float64"):
        _backend.choose(backend, x, KERNELS)


def test_op_without_gradient(backend: str, device: str) -> None:
    x = torch.empty(3, device=device)
    assert _backend.choose("auto", x, KERNELS, differentiate=True) == "torch"
    if backend == "torch":
        assert _backend.choose(backend, x, KERNELS, differentiate=True) == "torch"
        return
    with pytest.raises(ValueError, match="has no gradient"):
        _backend.choose(backend, x, KERNELS, differentiate=True)


def test_out_carries_no_gradient() -> None:
    x = torch.rand(3, requires_grad=True)
    with pytest.raises(ValueError, match="out: cannot carry a gradient"):
        gasf_image(x, 2, out=torch.empty(2, 2))
    with torch.no_grad():
        assert not gasf_image(x, 2, out=torch.empty(2, 2)).requires_grad


def test_overlap() -> None:
    room = torch.rand(60)
    strided = room[:30].reshape(5, 6).mT[::2]  # elements 0 to 28
    _backend.check_apart(room[29:], "x", strided)
    _backend.check_apart(room[29:29], "x", strided)
    with pytest.raises(ValueError, match="out: shares memory with x"):
        _backend.check_apart(room[28:], "x", strided)


@pytest.mark.parametrize("shape", [(46341, 46341), (2**38, 2**11, 2**11)])
def test_too_many_elements(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"image: .* more than 2\*\*(31 - 1|60) elements"):
        gasf_decode(torch.zeros(1).expand(shape))


def test_instruction_set_is_named() -> None:
    assert isa() in ("none", "baseline", "x86-64-v3", "x86-64-v4")


def test_environment_lowers_the_instruction_set() -> None:
    done = _import_with("baseline")
    assert done.stdout.strip() == ("baseline" if backends()["cpp"] == "ok" else "none"), done.stderr


@pytest.mark.usefixtures("instruction_set")
def test_unknown_instruction_set() -> None:
    with pytest.raises(ValueError, match=r"processor has baseline.*; found 'x86-64-v9'"):
        _backend._C.set_isa("x86-64-v9")


@pytest.mark.skipif(backends()["cpp"] != "ok", reason="no compiled kernels")
def test_unknown_instruction_set_stops_the_import() -> None:
    done = _run_with("fast", "-m", "netdiffus", "info")
    assert done.returncode == 2
    assert done.stderr.startswith(
        "error: instruction set (NETDIFFUS_ISA): this processor has baseline"
    )


def _import_with(level: str) -> subprocess.CompletedProcess[str]:
    return _run_with(level, "-c", "from netdiffus.ops import isa; print(isa())")


def _run_with(level: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"NETDIFFUS_ISA": level}
    command = [sys.executable, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def _both(x: Tensor) -> Tensor:
    """A function of the ops with a gradient; the sum keeps every part."""
    return gasf(x) + gasf_image(x, 7, gamma=0.5)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, inside inductor
@pytest.mark.parametrize("compiler", ["eager", "aot_eager", "inductor"])
def test_compiles_into_one_graph(compiler: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if compiler == "inductor" and not shutil.which(os.environ.get("CXX", "g++")):
        pytest.skip("no C++ compiler for inductor")
    if compiler == "inductor":
        # What an earlier run left in /tmp would hide a fault, or show one that is no more there.
        monkeypatch.setattr("torch._inductor.config.fx_graph_cache", False)
        monkeypatch.setattr("torch._functorch.config.enable_autograd_cache", False)
        # Another process would try instructions that the processor has.
        monkeypatch.setattr("torch._inductor.config.cpp.vec_isa_ok", True)
    torch._dynamo.reset()
    compiled = torch.compile(_both, fullgraph=True, backend=compiler)
    x = 0.1 + 0.8 * torch.rand(2, 7, dtype=torch.float64)
    torch.testing.assert_close(compiled(x), _both(x))
    gradients = []
    for function in (compiled, _both):
        v = x.clone().requires_grad_()
        function(v).sum().backward()
        gradients.append(v.grad)
    torch.testing.assert_close(*gradients)


def test_exports_and_runs_on_fake_tensors() -> None:
    class Both(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return _both(x)

    x = torch.rand(2, 7)
    torch.testing.assert_close(torch.export.export(Both(), (x,)).module()(x), _both(x))
    with FakeTensorMode():
        fake = _both(torch.empty(2, 7, device="cuda", dtype=torch.bfloat16))
    assert (fake.shape, fake.device.type, fake.dtype) == ((2, 7, 7), "cuda", torch.bfloat16)


def test_one_importer_of_the_extension() -> None:
    root = Path(netdiffus.__file__).parent
    importing = re.compile(r"import\s+.*\b_C\b|from\s+\S*_C\s+import")
    importers = [
        str(path.relative_to(root))
        for path in sorted(root.rglob("*.py"))
        if importing.search(path.read_text())
    ]
    assert importers == ["ops/_backend.py"]
