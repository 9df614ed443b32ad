"""Augmented data sets: the choice uses random traces, and parts are written one by one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from netdiffus.augmentation.augmenter import chosen
from netdiffus.augmentation.choice import Choice
from netdiffus.augmentation.joining import Form, check_unmarked
from netdiffus.augmentation.plans import plans
from netdiffus.errors import checked_seed
from netdiffus.evaluation.draws import RandomOfEach
from netdiffus.files import refuse_existing
from netdiffus.model.model import Model
from netdiffus.parts import Dataset
from netdiffus.parts.dataset import refuse_source, remove
from netdiffus.progress import Progress, given_or_bar, silent
from netdiffus.sampling import batches
from netdiffus.sampling_parts import PART_SIZE
from netdiffus.tables.manifest import MANIFEST
from netdiffus.traces.traces import Traces, concat
from netdiffus.training import Recipe, train
from netdiffus.training.encoded import FITS

JUDGED = 10_000  # random traces that stand for a data set
FEWEST = 20  # of each class among them, where it has as many
WRITING = 0.5  # share of the progress at which the writing begins


def augment_to_parts(
    real: Dataset,
    folder: str | Path,
    model: Model | None = None,
    *,
    validation: Traces | Dataset | None = None,
    recipe: Recipe | None = None,
    seed: int = 0,
    device: str | None = None,
    force: bool = False,
    progress: Progress | None = None,
    **options: Any,
) -> tuple[Dataset, Choice]:
    """As `augment_with_report`, of a data set, and writes a data set; memory does not grow.

    How many synthetic traces help is chosen with 10,000 random traces of `real`, or all if there
    are fewer: as many of each class as its share, at least 20. So without `validation` the three
    models learn from three quarters of these traces. The chosen plan then counts for all of
    `real`, and the model that makes the traces has learned from all. Of `validation`, too, at most
    10,000 random traces are read into memory.

    Args:
        real: Labelled traces, at least two of each class.
        folder: A folder without a data set; it is made if need be.
        model: Trained on `real`; None trains one with `recipe`.
        validation: Real traces that `model` has not learned from.
        recipe: Of each training, as of `augment`.
        seed: Of the random traces, splits, classifiers and synthetic traces.
        device: Where networks are trained and run; None takes CUDA if there is one.
        force: Replace a data set that is there.
        progress: Called with (share done, a note).
        **options: All others of `augment`: `times`, `classifier`, `by` and `sep`.

    Returns:
        The data set, parts of real traces first; and what was chosen, with `made` of all traces.

    Raises:
        InputError: As of `augment`; or `folder` is that of `real`, or cannot be written to.
        FileExistsError: The folder holds a data set and `force` is false.
    """
    folder, seed = Path(folder), checked_seed(seed)
    _refuse_itself(folder, real, validation)
    refuse_existing(folder / MANIFEST, force)
    with given_or_bar(progress, "augment", 1.0) as shown:

        def first_half(share: float, note: str) -> None:
            shown(WRITING * share, note)

        some = standing_for(real, seed)
        held = standing_for(validation, seed) if isinstance(validation, Dataset) else validation
        if model is None and held is not None:
            model = _trained(real, recipe, device, first_half)
        asked = {"recipe": recipe, "seed": seed, "device": device, **options}
        work, choice = chosen(some, model, held, first_half, **asked)
        choice = replace(choice, made=_of_all(choice, real))
        made: Iterator[Traces] = iter(())
        if choice.plan:
            model = model or work.model or _trained(real, recipe, device, first_half)
            wanted = {name: n for name, n in choice.made.items() if n}
            made = batches(
                model, sum(wanted.values()), label=wanted, seed=seed, device=device, progress=silent
            )
        remove(folder)
        written = Dataset.write_in_pieces(folder, _parts(real, made, validation, shown))
    return written, choice


def standing_for(dataset: Dataset, seed: int) -> Traces:
    """Random traces of each class, in memory; all if there are few.

    Raises:
        InputError: Some are marked as synthetic.
    """
    numbers = np.array(list(dataset.counts().values()))
    share = np.ceil(numbers * (JUDGED / numbers.sum())).astype(np.int64)
    wanted = np.minimum(numbers, np.maximum(share, FEWEST))
    length = max(1, FITS // (8 * len(dataset.channels) * int(wanted.sum())))
    drawn, found, first = RandomOfEach(numbers, wanted, seed), [], 0
    for traces in dataset:
        check_unmarked(traces, first)
        first += len(traces)
        if len(rows := drawn.rows(traces.labels)):
            found.append(traces[rows].truncate(min(length, int(traces.lengths[rows].max()))))
    return concat(found)


def _of_all(choice: Choice, real: Dataset) -> dict[str, int]:
    """How many traces of each class the chosen plan adds to the whole data set."""
    if choice.plan is None:
        return choice.made
    counts = np.array(list(real.counts().values()))
    return dict(zip(real.classes, plans([choice.plan], counts)[choice.plan].tolist(), strict=True))


def _trained(real: Dataset, recipe: Recipe | None, device: str | None, shown: Progress) -> Model:
    model = train(real, recipe=recipe or Recipe(minutes=2), device=device, progress=shown)
    if model.about["ended"] == "interrupted":
        raise KeyboardInterrupt("interrupted during a training; nothing was made")
    return model


def _parts(
    real: Dataset, made: Iterator[Traces], validation: Traces | Dataset | None, shown: Progress
) -> Iterator[Iterator[Traces]]:
    """Real traces in the order of their parts, then synthetic ones, all in one form."""
    first = next(made, None)
    form = Form.of(real.head(1), first, validation)
    shown(WRITING, "writing")
    for number, part in enumerate(real.parts(), 1):
        yield (form.marked(traces) for traces in part)
        shown(WRITING + (1 - WRITING) / 2 * number / len(real.manifest.parts), "real traces")
    made = made if first is None else chain([first], made)
    for first in made:
        yield (form.marked(traces, True) for traces in _of_a_part(first, made))
    shown(1.0, "done")


def _of_a_part(first: Traces, more: Iterator[Traces]) -> Iterator[Traces]:
    """This batch, and as many more as fill a part."""
    yield first
    n = len(first)
    while n < PART_SIZE and (traces := next(more, None)) is not None:
        yield traces
        n += len(traces)


def _refuse_itself(folder: Path, *given: Traces | Dataset | None) -> None:
    for one in given:
        if isinstance(one, Dataset) and isinstance(one.folder, Path):
            refuse_source(folder, one.folder)
