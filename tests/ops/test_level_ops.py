from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from everywhere import DTYPES, assert_same_everywhere
from scipy.special import log_softmax, softmax
from torch import Tensor

from netdiffus.ops.levels import COSINES, level_chances, level_loss, level_means

# Of the largest value. Halves are rounded once, which Triton's interpreter does by cutting off.
TOLERANCE = {
    torch.float32: 2e-6,
    torch.float64: 4e-15,
    torch.float16: 2**-10,
    torch.bfloat16: 2**-7,
}
SIZES = [(1,), (5, 3), (16, 1), (40, 17), (512, 2, 64)]
OPS = ["chances", "means", "contrasted", "loss"]
# Finite differences show the gradient of no other.
each_double_backend = pytest.mark.parametrize("backend", ["torch", "cpp"], indirect=True)


def table(sizes: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Spans of levels, every other one a point."""
    parts = []
    for k in sizes:
        low = torch.linspace(-1, 0.9, k, dtype=torch.float64)
        high = low + 0.05 * (torch.arange(k) % 2)
        part = low + (high - low) * torch.rand(k, generator=generator, dtype=torch.float64)
        parts.append(torch.stack([low, part, high], 1))
    return torch.cat(parts)


def known(sizes: tuple[int, ...], batch: int = 3, m: int = 7) -> dict[str, Any]:
    """Arguments of `level_chances`, in float64."""
    generator = torch.Generator().manual_seed(sum(sizes))
    draw = lambda *shape: torch.randn(shape, generator=generator, dtype=torch.float64)  # noqa: E731
    s, points = sum(sizes), (batch, m, len(sizes))
    return {
        "counted": 3 * draw(batch, m, s),
        "border": draw(*points),
        "edge": draw(*points),
        "variance": draw(batch).square() + 1e-2,
        "slope": draw(*points),
        "curve": draw(*points),
        "spans": table(sizes, generator),
        "cosines": draw(s, COSINES),
    }


def weighed(sizes: tuple[int, ...], batch: int = 3, m: int = 7) -> dict[str, Any]:
    """Arguments of `level_means`, in float64."""
    given = known(sizes, batch, m)
    return {
        "chances": given["counted"],
        "told": given["counted"].flip(0, 1),
        **{name: given[name] for name in ("edge", "variance", "spans")},
    }


def right(sizes: tuple[int, ...], batch: int = 3, m: int = 7) -> Tensor:
    """Own levels, the last of each channel among them."""
    generator = torch.Generator().manual_seed(1)
    own, begin = [], 0
    for k in sizes:
        level = torch.randint(0, k, (batch, m), generator=generator)
        level[-1, -1] = k - 1
        own.append(begin + level)
        begin += k
    return torch.stack(own, -1)


def as_type(
    given: dict[str, Any], dtype: torch.dtype, device: str | torch.device = "cpu"
) -> dict[str, Any]:
    return {name: v.to(device, dtype) for name, v in given.items()}


def lost(given: dict[str, Any], sizes: tuple[int, ...], backend: str = "auto") -> list[Tensor]:
    """The loss, and told's gradient."""
    told = given["told"].clone().requires_grad_()
    own = right(sizes, *told.shape[:2]).to(told.device)
    out = level_loss(given["chances"], told, own, sizes, backend=backend)
    out.backward((torch.arange(out.numel()) % 5 - 2).view_as(out).to(out))
    return [out.detach(), told.grad]


def arguments(op: str, sizes: tuple[int, ...]) -> dict[str, Any]:
    return known(sizes) if op == "chances" else weighed(sizes)


def run(op: str, given: dict[str, Any], sizes: tuple[int, ...], backend: str) -> list[Tensor]:
    if op == "chances":
        return list(level_chances(**given, sizes=sizes, backend=backend))
    if op == "loss":
        return lost(given, sizes, backend)
    gamma = 0.3 if op == "contrasted" else 1.0
    return [level_means(**given, sizes=sizes, gamma=gamma, backend=backend)]


def channels(sizes: tuple[int, ...]) -> list[slice]:
    ends = np.cumsum(sizes)
    return [slice(end - k, end) for end, k in zip(ends, sizes, strict=True)]


@pytest.mark.parametrize("sizes", SIZES[:4])
def test_chances_are_bayes_rule(sizes: tuple[int, ...]) -> None:
    """By SciPy, one point at a time."""
    v = {name: tensor.numpy() for name, tensor in known(sizes).items()}
    chances, features = run("chances", known(sizes), sizes, "torch")
    for i, j in np.ndindex(3, 7):
        row = features[i, j].numpy()
        np.testing.assert_array_equal(row[: len(sizes)], v["border"][i, j])
        for c, of in enumerate(channels(sizes)):
            low, x, high = v["spans"][of].T
            wide = v["variance"][i] + (high - low) ** 2 / 12
            logs = v["counted"][i, j, of] - (v["edge"][i, j, c] - x) ** 2 / (2 * wide)
            logs += v["slope"][i, j, c] * x + v["curve"][i, j, c] * x**2
            np.testing.assert_allclose(chances[i, j, of], logs, rtol=1e-12, atol=1e-12)
            share = softmax(logs)
            roots = row[len(sizes) : -COSINES * len(sizes)][of]
            np.testing.assert_allclose(roots, 4 * share**0.5, atol=1e-12)
            sums = row[-COSINES * len(sizes) :].reshape(-1, COSINES)[c]
            np.testing.assert_allclose(sums, share @ v["cosines"][of], rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("gamma", [1.0, 0.25, 2.0])
def test_means_are_of_the_likeliest_values(gamma: float) -> None:
    sizes = (5, 3)
    v = {name: tensor.numpy() for name, tensor in weighed(sizes).items()}
    means = level_means(**weighed(sizes), sizes=sizes, gamma=gamma, backend="torch")
    for i, j in np.ndindex(3, 7):
        for c, of in enumerate(channels(sizes)):
            low, x, high = v["spans"][of].T
            wide = (high - low) ** 2 / 12
            best = (x * v["variance"][i] + v["edge"][i, j, c] * wide) / (v["variance"][i] + wide)
            angle = np.arccos(2 * (0.5 * np.clip(best, low, high) + 0.5) ** (1 / gamma) - 1)
            share = softmax((v["chances"] + v["told"])[i, j, of])
            found = means[:, i, j, c]
            for mean, value in zip(found, (np.cos, np.sin, lambda a: np.cos(a) ** 2), strict=True):
                np.testing.assert_allclose(mean, share @ value(angle), rtol=1e-9, atol=1e-12)


def test_loss_is_a_cross_entropy() -> None:
    sizes = (5, 3)
    given = weighed(sizes)
    found, total = lost(given, sizes, "torch")[0], given["chances"] + given["told"]
    for c, of in enumerate(channels(sizes)):
        logs = log_softmax(total[..., of].numpy(), -1)
        own = right(sizes)[..., c, None].numpy() - of.start
        np.testing.assert_allclose(-found[..., c], np.take_along_axis(logs, own, -1)[..., 0])


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("op", OPS)
def test_values_and_gradients(backend: str, device: str, op: str, sizes: tuple[int, ...]) -> None:
    for dtype in DTYPES[backend]:
        given = as_type(arguments(op, sizes), dtype)
        exact = run(op, as_type(given, torch.float64), sizes, "torch")
        results = run(op, as_type(given, dtype, device), sizes, backend)
        for found, expected in zip(results, exact, strict=True):
            assert found.dtype == dtype
            difference = (found.cpu().double() - expected).abs().max()
            assert difference <= TOLERANCE[dtype] * max(1, expected.abs().max())


@each_double_backend
def test_gradcheck(backend: str) -> None:
    sizes = (5, 3)
    chances, told = (weighed(sizes, 2, 3)[name] for name in ("chances", "told"))
    loss = lambda told: level_loss(chances, told, right(sizes, 2, 3), sizes, backend=backend)  # noqa: E731
    assert torch.autograd.gradcheck(loss, told.requires_grad_())


def test_other_gradients_are_torchs() -> None:
    given, sizes = weighed((5, 3), 2, 3), (5, 3)
    given["chances"].requires_grad_()
    own = right(sizes, 2, 3)
    level_loss(given["chances"], given["told"], own, sizes).sum().backward()
    level_means(**given, sizes=sizes).sum().backward()
    assert given["chances"].grad.abs().sum() > 0
    with pytest.raises(ValueError, match="has no gradient"):
        level_means(**given, sizes=sizes, backend="cpp")


@pytest.mark.parametrize("gamma", [1.0, 0.5])
def test_strides_empty_and_nan(backend: str, device: str, gamma: float) -> None:
    sizes = (40, 17)
    given = as_type(known(sizes), torch.float32, device)
    turned = {name: v.mT.contiguous().mT if v.ndim > 1 else v for name, v in given.items()}
    same = zip(
        level_chances(**given, sizes=sizes, backend=backend),
        level_chances(**turned, sizes=sizes, backend=backend),
        strict=True,
    )
    assert all(torch.equal(*pair) for pair in same)
    none = {name: v if name in ("spans", "cosines") else v[:0] for name, v in given.items()}
    assert level_chances(**none, sizes=sizes, backend=backend)[1].shape == (0, 7, 91)
    given["edge"][1, 2, 1] = torch.nan
    features = level_chances(**given, sizes=sizes, backend=backend)[1].isnan()
    assert features[1, 2, 42:59].all()
    assert not features[1, 2, :42].any()
    assert not features[:, [0, 1, 3, 4, 5, 6]].any()
    means = as_type(weighed(sizes), torch.float32, device)
    turned = {name: v.mT.contiguous().mT if v.ndim > 1 else v for name, v in means.items()}
    same = [level_means(**v, sizes=sizes, gamma=gamma, backend=backend) for v in (means, turned)]
    assert torch.equal(*same)
    means["told"][0, 3, 50] = torch.nan
    bad = level_means(**means, sizes=sizes, gamma=gamma, backend=backend).isnan()
    assert bad[:, 0, 3, 1].all()
    assert bad.sum() == 3
    loss, gradient = (v.isnan() for v in lost(means, sizes, backend))
    assert loss[0, 3, 1]
    assert gradient[0, 3, 40:].all()
    assert loss.sum() == 1
    assert gradient.sum() == 17


@pytest.mark.parametrize("op", OPS)
def test_a_level_that_cannot_be(backend: str, device: str, op: str) -> None:
    """A chance of 0, whose logarithm is no number."""
    sizes = (40, 17)
    given = as_type(arguments(op, sizes), torch.float32, device)
    given["counted" if op == "chances" else "chances"][..., [3, 50]] = -torch.inf
    plain = {name: v.cpu() for name, v in given.items()}
    found, expected = run(op, given, sizes, backend), run(op, plain, sizes, "torch")
    for one, other in zip(found[-1:], expected[-1:], strict=True):
        torch.testing.assert_close(one.cpu(), other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("backend", ["cpp", "cuda", "triton"], indirect=True)
@pytest.mark.parametrize("op", OPS)
def test_same_bits_everywhere(backend: str, device: str, op: str) -> None:
    sizes = (256, 2, 64)
    given = as_type(arguments(op, sizes), torch.float32, device)
    assert_same_everywhere(lambda: run(op, given, sizes, backend))


@pytest.mark.parametrize("backend", ["cpp", "cuda", "triton"], indirect=True)
def test_batches_change_nothing(backend: str, device: str) -> None:
    sizes = (40, 17)
    whole = as_type(known(sizes), torch.float32, device)
    alone = {name: v if name in ("spans", "cosines") else v[1:2] for name, v in whole.items()}
    found, expected = (run("chances", given, sizes, backend) for given in (whole, alone))
    assert all(torch.equal(one[1:2], other) for one, other in zip(found, expected, strict=True))


def test_many_traces_on_several_threads() -> None:
    """Enough that threads start, each with levels of its own traces' noise."""
    sizes, many = (40, 17), as_type(known((40, 17), 200, 11), torch.float32)
    assert_same_everywhere(lambda: level_chances(**many, sizes=sizes, backend="cpp"))
    found = level_chances(**many, sizes=sizes, backend="cpp")
    expected = level_chances(**many, sizes=sizes, backend="torch")
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_compiles_into_one_graph() -> None:
    sizes = (5, 3)
    own = right(sizes)

    def both(**given: Tensor) -> Tensor:
        lost = level_loss(given["chances"], given["told"], own, sizes)
        return lost + level_means(**given, sizes=sizes).sum(0)

    compiled = torch.compile(both, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(**weighed(sizes)), both(**weighed(sizes)))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("counted", torch.rand(3, 8), r"counted: expected floats \(B, m, S\), found \(3, 8\)"),
        ("counted", torch.ones(3, 7, 8).int(), "counted: expected floats .* torch.int32"),
        ("edge", torch.rand(3, 7, 1).double(), r"edge: expected \(3, 7, 2\) torch.float64"),
        ("variance", torch.rand(3), r"variance: expected \(3,\) torch.float64"),
        ("spans", torch.rand(8, 2).double(), r"spans: expected \(8, 3\)"),
        ("cosines", torch.rand(8, 4).double(), r"cosines: expected \(8, 16\)"),
        ("sizes", (5, 4), "sizes: expected numbers above 0 that add up to 8"),
        ("sizes", (8, 0), "sizes: expected numbers above 0"),
    ],
)
def test_bad_input(name: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        level_chances(**{**known((5, 3)), "sizes": (5, 3), name: value})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda own: own.float(), r"own: expected \(3, 7, 2\) torch.int64 on cpu, found .*float"),
        (lambda own: own - 1, "own: expected 0 to 4 in channel 0, found -1 to"),
        (lambda own: own + 1, "own: expected 0 to 4 in channel 0, found 1 to 5"),
        (lambda own: own.clamp(max=4), "own: expected 5 to 7 in channel 1, found 4 to 4"),
    ],
)
def test_levels_of_another_channel(change: Callable[[Tensor], Tensor], message: str) -> None:
    given = weighed((5, 3))
    with pytest.raises(ValueError, match=message):
        level_loss(given["chances"], given["told"], change(right((5, 3))), (5, 3))
    with pytest.raises(ValueError, match="gamma: expected a number above 0, found 0"):
        level_means(**given, sizes=(5, 3), gamma=0)
