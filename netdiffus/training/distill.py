"""What a student learns from: traces that a trained teacher makes."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from netdiffus.networks.batch import Batch
from netdiffus.networks.causal import CausalNetwork
from netdiffus.networks.draws import Draws, labels_by_share

BATCHES, TIMES = 16, 3  # batches that are made at a time, and how often each trace of them is seen
SEED_OFFSET = 2**62  # apart from the seeds that users sample by


class Taught:
    """The batch of each step, of traces that a teacher makes: a function of seed and step alone.

    Traces are made 16 batches at a time, and each is seen three times before the next are made. In
    several processes each makes all of them, and takes its share.

    Args:
        teacher: A trained network.
        shares: (K,) how frequent each class is.
        batch_size: Traces to a step, over all processes.
        seed: Of the traces and their order.
        rank: Of this process.
        world: How many processes there are.
    """

    def __init__(
        self,
        teacher: CausalNetwork,
        shares: Tensor,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.teacher, self.shares = teacher.eval(), shares
        self.batch_size, self.rank, self.world = batch_size, rank, world
        self.seed, self.number = seed, -1
        self.made: tuple[Tensor, ...] = ()
        self.order = torch.empty(0)

    def batch(self, step: int) -> Batch:
        """This process's share of the batch of a step."""
        number, place = divmod(step, BATCHES * TIMES)
        if number != self.number:
            self._make(number)
        first = place * self.batch_size
        rows = self.order[first : first + self.batch_size][self.rank :: self.world]
        data, label, columns = (part[rows] for part in self.made)
        return Batch(data, label, columns, torch.zeros_like(label))

    def _make(self, number: int) -> None:
        n = BATCHES * self.batch_size
        index = number * n + torch.arange(n)
        seed = SEED_OFFSET + self.seed
        label = labels_by_share(self.shares, seed, index)
        device = self.teacher.start.device
        draws = Draws(seed, index, label, index).to(device)
        data, columns = self.teacher.generate(draws)
        # A batch of training needs a gradient, which tensors of inference do not take.
        self.made = data.clone(), draws.label, columns.clone()
        rng = np.random.default_rng((self.seed, number))
        orders = [torch.from_numpy(rng.permutation(n)) for _ in range(TIMES)]
        self.order, self.number = torch.cat(orders).to(device), number
