"""What each training step learns from, and what it must not: traces held out to judge it."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.func import functional_call

from netdiffus.diffusion import Diffusion
from netdiffus.model import Model
from netdiffus.ops.noise import GOLDEN, uniform
from netdiffus.traces import Traces
from netdiffus.unet import DefaultUNet
from netdiffus.variants import variants_of

NOISE_DRAW, TIME_DRAW, HELD_DRAW = 0, 1, 2  # Philox steps
FEWEST_HELD, MOST_HELD = 16, 64  # traces, about; fewer would judge by chance, and more be missed
HELD_IMAGES = 256  # at least, of the same traces at several times
Batch = dict[str, Tensor]
Ints = npt.NDArray[np.int64]


class Batches:
    """The batch of each step, a function of seed and step alone, and the held traces.

    Args:
        model: Its codec draws the images.
        traces: All of them.
        batch_size: Traces to a step, over all processes.
        held: Share that `held_distance` is computed of, and no batch holds before `take_all`.
        seed: Of order, times and noise.
        rank: Of this process.
        world: How many processes there are.
        device: Where the batches go.
    """

    def __init__(
        self,
        model: Model,
        traces: Traces,
        batch_size: int,
        held: float,
        seed: int,
        rank: int = 0,
        world: int = 1,
        device: torch.device | None = None,
    ) -> None:
        self.codec, self.diffusion, self.seed = model.codec, model.diffusion, seed
        self.batch_size, self.rank, self.world = batch_size, rank, world
        series = self.codec.series(traces)
        self.series = series.float().to(device)
        self.levels: Tensor | None = None
        if isinstance(model.unet, DefaultUNet):
            self.levels = model.unet.level_of(series).to(device)
        self.variants = torch.from_numpy(variants_of(traces)[0]).to(device)
        n = self.codec.length or 1
        self.lengths = torch.from_numpy(np.minimum(traces.lengths, n) / n).float().to(device)
        same = traces.truncate(n).duplicates()  # to the network, which sees no more
        learned, self.held = split(traces.labels, same, held, seed)
        self.learned = torch.from_numpy(learned)
        self.order: tuple[int, Tensor] = (-1, torch.empty(0))

    def batch(self, step: int) -> Batch:
        """This process's share of the batch: noisy images xt and what goes with them."""
        draws = step * self.batch_size + torch.arange(self.batch_size)
        draws = draws[self.rank :: self.world]
        return self._of(self._rows(draws), draws, self._times(step, draws), NOISE_DRAW)

    def take_all(self) -> None:
        """From now on batches hold the held traces, too."""
        self.learned, self.order = torch.arange(len(self.series)), (-1, torch.empty(0))

    def held_distance(self, net: nn.Module, weights: list[Tensor]) -> float:
        """How far the network with these weights is from the held traces; infinite if none is held.

        Each comes at times and noise of its own. Where levels teach, it is the mean square distance
        of the answered images that counts, which is all that sampling uses: the logarithm of the
        chances punishes a few confident misses long before images get worse.
        """
        if not len(self.held):
            return math.inf
        named = dict(zip((name for name, _ in net.named_parameters()), weights, strict=True))
        rows = torch.from_numpy(np.resize(self.held, max(HELD_IMAGES, len(self.held))))
        index = torch.arange(len(rows))
        times = ((0.5 + GOLDEN * index) % 1 * self.diffusion.num_timesteps).long()
        total = 0.0
        with torch.no_grad():
            for part in torch.split(index, self.batch_size):
                batch = self._of(rows[part], part, times[part], HELD_DRAW)
                out = functional_call(net, named, _given(batch))
                total += float(self._distance(out, batch, rows[part])) * len(part)
        return total / len(rows)

    def _distance(self, out: Tensor, batch: Batch, rows: Tensor) -> Tensor:
        if "levels" in batch:
            return (out - self._images(rows)).square().mean()
        return self.diffusion.training_loss(out, batch["target"]).mean()

    def _images(self, rows: Tensor) -> Tensor:
        return 2 * self.codec.draw(self.series[rows.to(self.series.device)]) - 1

    def _of(self, rows: Tensor, index: Tensor, t: Tensor, draw: int) -> Batch:
        rows, t, index = (v.to(self.series.device) for v in (rows, t, index))
        whole = self.levels is None  # else the network reads the border of images alone
        x0 = self._images(rows) if whole else 2 * self.codec.edge(self.series[rows]) - 1
        xt, target = self.diffusion.q_sample(x0, t, self.seed, index, draw, whole)
        batch = {
            "xt": xt,
            "target": target,
            "t": t,
            "variant": self.variants[rows],
            "length": self.lengths[rows],
        }
        return batch if self.levels is None else batch | {"levels": self.levels[rows]}

    def _rows(self, draws: Tensor) -> Tensor:
        """Every trace that is learned from once an epoch, in an order of its own."""
        epochs, places = draws // len(self.learned), draws % len(self.learned)
        first, last = int(epochs[0]), int(epochs[-1])
        return torch.cat([self._epoch(e)[places[epochs == e]] for e in range(first, last + 1)])

    def _epoch(self, epoch: int) -> Tensor:
        if self.order[0] != epoch:
            seeded = torch.Generator().manual_seed((self.seed + 7919 * epoch) % 2**63)
            order = torch.randperm(len(self.learned), generator=seeded)
            self.order = (epoch, self.learned[order])
        return self.order[1]

    def _times(self, step: int, draws: Tensor) -> Tensor:
        """Times spread evenly over the batch, from one random start: less noise in the loss."""
        size = self.batch_size
        begin = uniform(self.seed, torch.tensor([step]), TIME_DRAW)
        share = self.diffusion.crowded((begin + draws % size / size) % 1)
        return torch.from_numpy(share * self.diffusion.num_timesteps).long()


def loss_of(
    net: nn.Module,
    diffusion: Diffusion,
    xt: Tensor,
    t: Tensor,
    variant: Tensor,
    length: Tensor,
    right: Tensor,
) -> Tensor:
    """Mean loss of a network on what `taught` makes of a batch."""
    given = xt, t, variant, length
    if diffusion.loss == "levels":
        lost: Tensor = net(*given, levels=right)
        return lost.mean()
    return diffusion.training_loss(net(*given), right).mean()


def taught(batch: Batch) -> tuple[Tensor, ...]:
    """What the network is given, and then what it is taught: levels, or else the target."""
    return *_given(batch), batch.get("levels", batch["target"])


def _given(batch: Batch) -> tuple[Tensor, ...]:
    return tuple(batch[name] for name in ("xt", "t", "variant", "length"))


def split(labels: Ints, same: Ints, held: float, seed: int) -> tuple[Ints, Ints]:
    """Rows to learn from and rows to hold out, a share of each class; none if they are too few.

    Rows with a number in `same` that is also learned from are no strangers, and not held.
    """
    rng = np.random.default_rng(seed)
    share = min(held, MOST_HELD / len(labels))
    chosen = []
    for label in np.unique(labels):
        mine = rng.permutation(np.flatnonzero(labels == label))
        chosen.append(mine[: int(share * len(mine) + rng.random())])  # right on average
    every, out = np.arange(len(labels)), np.sort(np.concatenate(chosen))
    out = out[~np.isin(same[out], same[np.setdiff1d(every, out)])]
    out = out if len(out) >= FEWEST_HELD else out[:0]
    return np.setdiff1d(every, out), out
