"""Summaries of sets of traces that are larger than memory; each set is read once.

Distributions and autocorrelations (`WholeSet`), classes and lengths, and exact copies are counted
over all traces. Everything else uses random traces of each class.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any

import numpy as np

from netdiffus.channels import Channel
from netdiffus.evaluation.draws import RandomOfEach, capped, class_counts
from netdiffus.evaluation.metrics.memorization import point_keys, short_keys
from netdiffus.evaluation.prepare import (
    MOST_COMPARED,
    MOST_TRACES,
    NO_HOLDOUT,
    PreparedSets,
    Whole,
    check_channels,
    check_counts,
    chunks,
    common_classes,
    in_form,
    note_lengths,
    of_classes,
    prepare,
)
from netdiffus.evaluation.whole_sets import BLOCKS, WholeSet
from netdiffus.parts import Dataset
from netdiffus.parts.dataset import chosen
from netdiffus.parts.splitting import holdout_mask
from netdiffus.traces.splitting import group_names
from netdiffus.traces.traces import Bools, Ints, Traces, concat

MOST_KEYS = 1 << 20  # traces of a set, up to which all are looked for exact copies
SAMPLE_BYTES = 1 << 30  # of the padded traces that stand for a set


@dataclass(frozen=True, eq=False)
class LargeSet:
    """Traces that need not be in memory: those for which `mask` (N,) is true, or all.

    `numbers` has the number of traces of each class.
    """

    traces: Traces | Dataset
    mask: Bools | None
    numbers: dict[str, int]

    @classmethod
    def of(cls, traces: Traces | Dataset) -> LargeSet:
        """All of these traces."""
        return cls(traces, None, traces.counts())

    @property
    def first(self) -> Traces:
        """One trace."""
        return self.traces[:1] if isinstance(self.traces, Traces) else self.traces.head(1)

    def __len__(self) -> int:
        return sum(self.numbers.values())

    def only(self, classes: Sequence[str]) -> LargeSet:
        """The same set, with only these classes in `numbers`."""
        return replace(self, numbers={name: self.numbers.get(name, 0) for name in classes})

    def batches(self) -> Iterator[Traces]:
        """The traces, a batch at a time."""
        found = chunks(self.traces) if isinstance(self.traces, Traces) else self.traces.batches()
        return found if self.mask is None else chosen(found, self.mask)


def prepare_large(
    real: Traces | Dataset,
    synthetic: Traces | Dataset,
    holdout: Traces | Dataset | None,
    seed: int,
    by: str | None = None,
    sep: str | None = None,
) -> tuple[PreparedSets, dict[str, WholeSet]]:
    """As `prepare`, for sets that are read once in pieces; also counts over all traces.

    Raises:
        InputError: The sets cannot be compared, or a part cannot be read.
    """
    notes: list[str] = []
    sets = _sets(real, synthetic, holdout, (by, sep, seed), notes)
    channels = sets["real"].first.with_gaps().channels
    for name, one in sets.items():
        check_channels(one.first, channels, name)
    classes = common_classes({name: one.numbers for name, one in sets.items()}, notes)
    sets = {name: one.only(classes) for name, one in sets.items()}
    check_counts({name: one.numbers for name, one in sets.items()})
    lowest = MOST_KEYS / max(map(len, sets.values()))
    read = {
        name: _Reading(one, channels, classes, seed, lowest, None if name == "synthetic" else by)
        for name, one in sets.items()
    }
    sampled, made, held = (one.read(sep) for one in read.values())
    found = prepare(sampled, made, held, seed, by, sep, are_samples=True)
    _note_sizes(read, lowest, notes)
    comparison = PreparedSets(
        replace(found.train, whole=read["real"].whole()),
        replace(found.synthetic, whole=read["synthetic"].whole()),
        replace(found.holdout, whole=read["holdout"].whole()),
        holdout is not None,
        (*notes, *found.notes),
    )
    return comparison, {name: one.counted for name, one in read.items()}


def _sets(
    real: Traces | Dataset,
    synthetic: Traces | Dataset,
    holdout: Traces | Dataset | None,
    split: tuple[str | None, str | None, int],
    notes: list[str],
) -> dict[str, LargeSet]:
    """The three sets; without a holdout, both halves of `real`."""
    made = LargeSet.of(synthetic)
    if holdout is not None:
        return {"real": LargeSet.of(real), "synthetic": made, "holdout": LargeSet.of(holdout)}
    notes.append(NO_HOLDOUT)
    whole = LargeSet.of(real)
    held, labels = holdout_mask(whole.batches(), real.classes, 0.5, *split)
    counts = [class_counts(labels[mask], len(real.classes)).tolist() for mask in (~held, held)]
    rest, unseen = (dict(zip(real.classes, one, strict=True)) for one in counts)
    return {
        "real": LargeSet(real, ~held, rest),
        "synthetic": made,
        "holdout": LargeSet(real, held, unseen),
    }


class _Reading:
    """A set that is read once.

    Only the lowest keys, a share `lowest` of all, are kept; the bound is the same for all sets.
    Groups of the column `by` stay together in a block.
    """

    def __init__(
        self,
        one: LargeSet,
        channels: Sequence[Channel],
        classes: tuple[str, ...],
        seed: int,
        lowest: float,
        by: str | None,
    ) -> None:
        self.set, self.classes, self.by = one, classes, by
        self.counted = WholeSet(len(classes))
        self.lengths: Counter[int] = Counter()
        self.length = max(1, SAMPLE_BYTES // (8 * len(channels) * MOST_TRACES))
        self.cut = 0  # traces of the sample
        self._channels, self._limit = tuple(channels), int(min(1.0, lowest) * 2**64)
        self._numbers = np.array(list(one.numbers.values()))
        self._random = RandomOfEach(self._numbers, capped(self._numbers, MOST_TRACES), seed)
        self._kept: list[Whole] = []

    def read(self, sep: str | None) -> Traces:
        """Counts all traces; returns the random traces that represent them."""
        pieces = []
        for batch in self.set.batches():
            if not np.isin(batch.label_names, self.classes).any():
                continue
            traces = in_form(of_classes(batch, self.classes), self._channels, self.classes)
            keys = point_keys(traces)
            self.counted.add(traces, self._blocks(traces, keys, sep))
            self.lengths.update(traces.lengths.tolist())
            self._keep(traces, keys)
            rows = self._random.rows(traces.labels)
            if len(rows):
                pieces.append(self._shortened(traces[rows]))
        return concat(pieces)

    def whole(self) -> Whole:
        """The traces whose keys are kept, and sums over all."""
        kept = self._kept
        return Whole(
            np.concatenate([one.lengths for one in kept]),
            np.concatenate([one.labels for one in kept]),
            np.concatenate([one.keys for one in kept]),
            {
                "traces": len(self.set),
                "per_class": self._numbers.tolist(),
                **_length_figures(self.lengths),
            },
        )

    def _blocks(self, traces: Traces, keys: Sequence[bytes], sep: str | None) -> Ints:
        """(n,): the same for traces with the same points, or of one group."""
        if self.by is None:
            return np.array([key[-1] % BLOCKS for key in keys])
        names = group_names(traces.meta, self.by, sep).tolist()
        hashes = [blake2b(name.encode(), digest_size=1).digest() for name in names]
        return np.array([one[0] % BLOCKS for one in hashes])

    def _keep(self, traces: Traces, keys: Sequence[bytes]) -> None:
        short = short_keys(keys)
        low = short < self._limit if self._limit < 2**64 else np.ones(len(short), dtype=bool)
        self._kept.append(Whole(traces.lengths[low], traces.labels[low], short[low]))

    def _shortened(self, traces: Traces) -> Traces:
        self.cut += int((traces.lengths > self.length).sum())
        longest = min(self.length, int(traces.lengths.max()))
        return traces.truncate(longest)


def _length_figures(lengths: Counter[int]) -> dict[str, Any]:
    values = np.array(sorted(lengths))
    counts = np.array([lengths[k] for k in values.tolist()])
    upper = np.cumsum(counts)
    middle = [(upper[-1] - 1) // 2, upper[-1] // 2]
    return {
        "shortest": int(values[0]),
        "median_length": float(values[np.searchsorted(upper, middle, side="right")].mean()),
        "longest": int(values[-1]),
        "points": int(values @ counts),
    }


def _note_sizes(read: dict[str, _Reading], lowest: float, notes: list[str]) -> None:
    longest = max(read["synthetic"].lengths)
    held = read["holdout"].lengths
    longer = sum(n for length, n in held.items() if length > longest)
    note_lengths(longest, longer / held.total(), notes)
    sizes = ", ".join(f"{name} {len(one.set):,}" for name, one in read.items())
    copies = "all traces" if lowest >= 1 else f"{lowest:.1%} of all traces, chosen by their points"
    notes.append(
        f"Data sets ({sizes} traces): the figures under “All traces” use all of them. Other "
        f"figures use at most {MOST_TRACES:,} random traces of each set. Comparisons, classifiers "
        f"and the search for near copies use at most {MOST_COMPARED:,} of these at a time. Exact "
        f"copies are counted over {copies}."
    )
    cut = {name: one.cut for name, one in read.items() if one.cut}
    if cut:
        length = next(iter(read.values())).length
        found = ", ".join(f"{name} {n:,}" for name, n in cut.items())
        notes.append(
            f"Random traces longer than {length:,} points ({found}) are cut to {length:,} points, "
            "because longer ones do not fit into memory together."
        )
