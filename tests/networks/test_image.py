"""The U-Net of the paper, and diffusion around it."""

from __future__ import annotations

import copy

import pytest
import torch
from nets import asked, made
from small import volumes
from torch import Tensor

from netdiffus.codec import GasfCodec
from netdiffus.model.model import Model
from netdiffus.networks.batch import Batch
from netdiffus.networks.image import ImageNetwork
from netdiffus.networks.layers.image_unet import ImageUNet
from netdiffus.networks.layers.paper_unet import PaperUNet


@pytest.fixture(scope="module", params=["image", "paper"])
def model(request: pytest.FixtureRequest) -> Model:
    """With weights as after training: some start at 0."""
    codec = GasfCodec(8, border=int(request.param == "image"))
    made = Model.new(volumes(40), codec, preset=request.param, width=8)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in made.network.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return made


def batch_of(model: Model, draws: Tensor | None = None) -> Batch:
    traces = volumes(40)
    data = model.codec.series(traces).float()  # type: ignore[union-attr]
    columns = torch.from_numpy(model.columns.encode(traces))
    draws = torch.arange(40) if draws is None else draws
    return Batch(data, torch.from_numpy(traces.labels), columns, draws)


@pytest.mark.parametrize("kind", [ImageUNet, PaperUNet])
@pytest.mark.parametrize("size", [1, 7, 16, 30, 65])
def test_images_of_any_size(size: int, kind: type) -> None:
    net = PaperUNet(3, 8) if kind is PaperUNet else ImageUNet(3, size, 8)
    xt = torch.randn(2, 3, size, size)
    out = net(xt, torch.tensor([0, 999]), torch.randn(2, net.condition_width))
    assert out.shape == xt.shape
    assert torch.isfinite(out).all()


def test_it_is_the_words_of_the_paper() -> None:
    net = PaperUNet(1, 8)
    assert len(net.levels) == 5
    kinds = {type(module).__name__ for module in net.modules()}
    assert "Conv2d" in kinds
    assert "GroupNorm" not in kinds
    sizes = []
    for level in net.levels:
        level.register_forward_hook(lambda _m, _i, out: sizes.append(out.shape[-1]))
    net(torch.randn(1, 1, 16, 16), torch.tensor([0]), torch.randn(1, net.condition_width))
    assert sizes == [16, 8, 4, 8, 16]


def test_image_time_and_class_matter(model: Model) -> None:
    net = model.network
    assert isinstance(net, ImageNetwork)
    m = model.codec.image_size
    xt, t = torch.randn(1, 2, m, m, generator=torch.Generator().manual_seed(0)), torch.tensor([500])
    condition = net.conditions(torch.tensor([0]), torch.tensor([[0]]))
    out = net.unet(xt, t, condition)
    other_class = net.conditions(torch.tensor([1]), torch.tensor([[0]]))
    for changed in ((xt + 0.5, t, condition), (xt, t - 400, condition), (xt, t, other_class)):
        assert (net.unet(*changed) - out).abs().max() > 1e-3


def test_the_answer_of_the_stronger_unet_is_symmetric() -> None:
    """As noise and images are; what is not symmetric in it could only be wrong."""
    net = ImageUNet(2, 12, 8)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    out = net(torch.randn(3, 2, 12, 12), torch.tensor([1, 2, 3]), torch.randn(3, 32))
    assert torch.equal(out, out.mT)
    assert out.abs().max() > 0.01


def test_no_weight_is_dead(model: Model) -> None:
    net = copy.deepcopy(model.network).train()
    net.loss(batch_of(model)).backward()
    of_one_token = "conditions.logits.1."  # of the length, which all traces share
    for name, parameter in net.named_parameters():
        if not name.startswith(of_one_token):
            assert parameter.grad is not None, name
            assert parameter.grad.abs().max() > 0, name


def test_times_and_noise_of_the_loss_depend_on_the_draws_alone(model: Model) -> None:
    losses = []
    for seed, draws in ((0, None), (1, None), (0, torch.arange(40) + 99)):
        torch.manual_seed(seed)
        with torch.no_grad():
            losses.append(float(model.network.loss(batch_of(model, draws))))
    assert losses[0] == losses[1] != losses[2]


def test_columns_are_in_the_loss(model: Model) -> None:
    net, batch = copy.deepcopy(model.network), batch_of(model)
    before = net.conditions.loss
    net.conditions.loss = lambda batch: before(batch) + 100
    with torch.no_grad():
        assert float(net.loss(batch)) == pytest.approx(
            float(model.network.loss(batch)) + 100 / net.config.size
        )


@pytest.mark.parametrize("backend", ["torch", "auto"])
def test_an_image_does_not_depend_on_the_others(model: Model, backend: str) -> None:
    net, plan, index = model.network, model.diffusion.steps("ddpm", 6), torch.arange(20)
    whole, _ = made(net, asked(index % 2, 3, index), plan, backend)
    parts = [made(net, asked(i % 2, 3, i), plan, backend)[0] for i in index.split(3)]
    # `sample` promises 1e-4 of the range; convolutions of other batches add in another order.
    assert (torch.cat(parts) - whole).abs().mean() < 1e-4
    assert whole.min() >= 0
    assert whole.max() <= 1
    assert (whole[0] - whole[2]).abs().max() > 0.01
