from __future__ import annotations

import pytest
import torch

from netdiffus import muon
from netdiffus.muon import Muon


@pytest.mark.skipif(
    not hasattr(torch.optim, "Muon"), reason="this torch has no Muon to compare with"
)
@pytest.mark.parametrize(("halves", "within"), [(False, 0.02), (True, 0.04)])
@pytest.mark.parametrize("shape", [(16, 48), (48, 16), (20, 20)])
def test_steps_are_those_of_torch(
    shape: tuple[int, int], halves: bool, within: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Theirs multiplies in bfloat16, of 8 bits: 1.5 % of an update's size, and twice that if both.

    Measured: 1.5 and 3.0 %.
    """
    monkeypatch.setattr(muon, "multiplies_halves", lambda: halves)
    torch.manual_seed(0)
    ours, theirs = (torch.nn.Parameter(torch.zeros(shape)) for _ in range(2))
    first = Muon([ours], lr=0.1)
    second = torch.optim.Muon([theirs], lr=0.1, weight_decay=0.0, adjust_lr_fn="match_rms_adamw")
    for _ in range(3):
        ours.grad = torch.randn(shape)
        theirs.grad = ours.grad.clone()
        first.step()
        second.step()
    assert (ours - theirs).norm() < within * theirs.norm()


@pytest.mark.parametrize("halves", [False, True])
def test_singular_values_come_near_one(halves: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(muon, "multiplies_halves", lambda: halves)
    torch.manual_seed(1)
    weight = torch.nn.Parameter(torch.zeros(3, 12, 8)[0])
    weight.grad = torch.randn(12, 8)
    Muon([weight], lr=1.0).step()
    singular = torch.linalg.svdvals(weight.detach()) / (0.2 * 12**0.5)
    assert 0.6 < singular.min() <= singular.max() < 1.3


def test_weights_decay() -> None:
    weight = torch.nn.Parameter(torch.eye(4))
    weight.grad = torch.zeros(4, 4)
    Muon([weight], lr=0.1, weight_decay=0.5).step()
    torch.testing.assert_close(weight.detach(), 0.95 * torch.eye(4))
