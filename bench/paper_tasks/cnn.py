"""The convolutional classifier of the NetDiffus paper, on GASF images."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from bench.paper_tasks.learners import Classifier, Learner
from netdiffus.evaluation.features.gasf_images import SIZE, GasfImages
from netdiffus.traces.traces import Floats, Traces

WIDTHS = (32, 64, 128, 256)
BATCH = 32
RATE, MOMENTUM = 0.01, 0.9
STEPS = 500
AT_ONCE = 256


def paper_cnn(real: Traces, *, size: int = SIZE, steps: int = STEPS) -> Learner:
    """The kind of classifier that the paper's accuracies are of.

    Four blocks of two 3 by 3 convolutions, each with batch normalisation and ELU (first block) or
    ReLU, then a maximum over 2 by 2 and dropout of 0.1; widths 32, 64, 128 and 256; layers of 128
    (dropout 0.7) and 64 units (0.5). Stochastic gradient descent, rate 0.01, momentum 0.9, batches
    of 32. Unlike the published script it tests with dropout and batch statistics switched off,
    takes the channels as they are, and takes the same number of steps whatever it learns from. The
    real traces give the bounds of the images, whose size is a multiple of 16.
    """
    images = GasfImages(real, size)

    def learn(train: Traces, seed: int) -> Classifier:
        shape = (len(train.channels), size, len(train.classes))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            net = _network(*shape)
            _fit(net, images(train), torch.from_numpy(train.labels), steps)
        return lambda traces: _probabilities(net, traces, images)

    return learn


def _network(channels: int, size: int, classes: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for i, width in enumerate(WIDTHS):
        for before in (WIDTHS[i - 1] if i else channels, width):
            layers += [nn.Conv2d(before, width, 3, padding=1), nn.BatchNorm2d(width)]
            layers += [nn.ELU() if i == 0 else nn.ReLU()]
        layers += [nn.MaxPool2d(2), nn.Dropout(0.1)]
    flat = WIDTHS[-1] * (size // 2 ** len(WIDTHS)) ** 2
    layers += [nn.Flatten(), nn.Linear(flat, 128), nn.ReLU(), nn.Dropout(0.7)]
    layers += [nn.Linear(128, 64), nn.ReLU(), nn.Dropout(0.5), nn.Linear(64, classes)]
    return nn.Sequential(*layers)


def _fit(net: nn.Sequential, x: Tensor, y: Tensor, steps: int) -> None:
    optimiser = torch.optim.SGD(net.parameters(), lr=RATE, momentum=MOMENTUM)
    net.train()
    for _ in range(steps):
        rows = torch.randint(len(x), (BATCH,))
        loss = nn.functional.cross_entropy(net(x[rows]), y[rows])
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()


@torch.no_grad()
def _probabilities(net: nn.Sequential, traces: Traces, images: GasfImages) -> Floats:
    net.eval()
    parts = [
        net(images(traces[i : i + AT_ONCE])).double().softmax(dim=1)
        for i in range(0, len(traces), AT_ONCE)
    ]
    return np.asarray(torch.cat(parts).numpy())
