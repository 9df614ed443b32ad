"""The training batch of each step, and the validation split."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Generator, Tensor

from netdiffus.codec import TokenCodec
from netdiffus.model.model import Model
from netdiffus.networks.batch import Batch
from netdiffus.parts import Dataset
from netdiffus.traces.traces import Traces
from netdiffus.training.encoded import encoded

FEWEST, MOST = 16, 256  # validation traces, about: fewer judge by chance, more are missed
LARGEST = 0.25  # share of the traces that validate, where a smaller one gives too few
VALIDATION_DRAWS = 2**62  # numbers of the noise of validation traces, which no batch has
EPOCH_SEEDS = 7919  # between the seeds of two epochs
READ = 4096  # traces at a time
LONG = 128  # points that the longest trace has more of, where batches have traces of like length
ALIKE = 50  # batches that are made of so many random traces, by length
Ints = npt.NDArray[np.int64]


class Batches:
    """The batch of each step, which depends only on seed and step, and the validation traces.

    Args:
        model: The model whose codec encodes the traces.
        traces: All of them.
        batch_size: Traces to a step, over all processes.
        validation: Share of each class that batches leave out before `take_all`, except traces that
            equal a training trace.
        seed: Of the order and of the split.
        rank: Of this process.
        world: How many processes there are.
        device: Where the batches go.
    """

    def __init__(
        self,
        model: Model,
        traces: Traces | Dataset,
        batch_size: int,
        validation: float,
        seed: int,
        rank: int = 0,
        world: int = 1,
        device: torch.device | None = None,
    ) -> None:
        self.seed, self.batch_size, self.rank, self.world = seed, batch_size, rank, world
        self.device = device
        found = encoded(model, traces)
        learned, held = split(found.labels.numpy(), found.same, validation, seed)
        # What is too much for the memory of the host is too much for that of a GPU, too.
        place = None if isinstance(traces, Dataset) else device
        self.data, self.labels, self.columns = (one.to(place) for one in found[:3])
        self.longer = found.longer
        self.learned, self.held = torch.from_numpy(learned), torch.from_numpy(held)
        self.order: tuple[int, Tensor] = (-1, torch.empty(0))
        # A batch takes as long as its longest trace.
        self.lengths: Tensor | None = None
        if isinstance(model.codec, TokenCodec) and self.data.shape[1] > LONG:
            self.lengths = _lengths(self.data, model.codec.end)

    def batch(self, step: int) -> Batch:
        """This process's share of the batch of a step."""
        draws = step * self.batch_size + torch.arange(self.batch_size)
        draws = draws[self.rank :: self.world]
        return self._of(self._rows(draws), draws)

    def validation(self) -> list[Batch]:
        """All validation traces, in batches; the same at every call."""
        return self._fixed(self.held)

    def reference(self) -> list[Batch]:
        """As many training traces, in batches; the same at every call."""
        place = torch.linspace(0, len(self.learned) - 1, len(self.held)).long()
        return self._fixed(self.learned[place])

    def take_all(self) -> None:
        """From now on batches hold the validation traces, too."""
        self.learned, self.order = torch.arange(len(self.labels)), (-1, torch.empty(0))

    def _fixed(self, rows: Tensor) -> list[Batch]:
        parts = torch.split(torch.arange(len(rows)), self.batch_size)
        return [self._of(rows[part], VALIDATION_DRAWS + part) for part in parts if len(part)]

    def _of(self, rows: Tensor, draws: Tensor) -> Batch:
        rows, draws = rows.to(self.data.device), draws.to(self.data.device)
        data = self.data[rows].to(self.device)
        data = data.long() if data.dtype == torch.int16 else data
        parts = data, self.labels[rows], self.columns[rows], draws
        return Batch(*(part.to(self.device) for part in parts))

    def _rows(self, draws: Tensor) -> Tensor:
        """Each training trace once per epoch, in a new order for each epoch."""
        epochs, places = draws // len(self.learned), draws % len(self.learned)
        first, last = int(epochs[0]), int(epochs[-1])
        return torch.cat([self._epoch(e)[places[epochs == e]] for e in range(first, last + 1)])

    def _epoch(self, epoch: int) -> Tensor:
        if self.order[0] != epoch:
            seeded = Generator().manual_seed((self.seed + EPOCH_SEEDS * epoch) % 2**63)
            order = torch.randperm(len(self.learned), generator=seeded)
            rows = self.learned[order]
            if self.lengths is not None:
                begin = -epoch * len(rows) % self.batch_size  # rows that fill up the batch before
                rows = by_length(rows, self.lengths, self.batch_size, begin, seeded)
            self.order = (epoch, rows)
        return self.order[1]


def by_length(rows: Tensor, lengths: Tensor, size: int, begin: int, seeded: Generator) -> Tensor:
    """Rows in random order, but with traces of similar length in each batch.

    Args:
        rows: (M,) in random order.
        lengths: Of all traces, by row.
        size: Of a batch.
        begin: Rows before the first whole batch.
        seeded: Draws the order of the batches.
    """
    found = [rows[:begin]]
    for some in torch.split(rows[begin:], ALIKE * size):
        batches = torch.split(some[lengths[some].argsort(stable=True)], size)
        whole = len(some) // size
        places = torch.randperm(whole, generator=seeded).tolist()
        found += [batches[k] for k in places] + list(batches[whole:])
    return torch.cat(found)


def _lengths(tokens: Tensor, end: int) -> Tensor:
    """(N,) points of each trace; tokens in a file are read in pieces."""
    return torch.cat([(part[:, :, 0] != end).sum(1).cpu() for part in torch.split(tokens, READ)])


def split(labels: Ints, same: Ints, share: float, seed: int) -> tuple[Ints, Ints]:
    """Training and validation rows, a share of each class; no validation rows if they are too few.

    A validation row that equals a training row is also used for training. It stays a validation
    row, because new traffic repeats itself as often.

    Args:
        labels: (N,) classes.
        same: (N,) rows with the same number are equal traces.
        share: Of each class, exact on average.
        seed: Same seed, same split.
    """
    for tried in (share, max(share, LARGEST)):
        out, drawn = _drawn(labels, same, min(tried, MOST / len(labels)), seed)
        if len(out) >= FEWEST or not share:
            break
    if len(out) < FEWEST:
        out, drawn = out[:0], drawn[:0]
    return np.setdiff1d(np.arange(len(labels)), out), drawn


def _drawn(labels: Ints, same: Ints, share: float, seed: int) -> tuple[Ints, Ints]:
    """Rows left out of training; validation rows, some of which may equal training rows."""
    rng = np.random.default_rng(seed)
    chosen = []
    for label in np.unique(labels):
        mine = rng.permutation(np.flatnonzero(labels == label))
        chosen.append(mine[: int(share * len(mine) + rng.random())])
    every, drawn = np.arange(len(labels)), np.sort(np.concatenate(chosen))
    return drawn[~np.isin(same[drawn], same[np.setdiff1d(every, drawn)])], drawn
