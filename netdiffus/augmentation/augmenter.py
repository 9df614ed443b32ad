"""Real traces, augmented with as many synthetic traces as help a classifier."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from netdiffus.augmentation.checks import check, judges_of, multiples
from netdiffus.augmentation.choice import Choice, choose
from netdiffus.augmentation.joining import joined
from netdiffus.augmentation.plans import plan_names, plans
from netdiffus.augmentation.rounds import Rounds
from netdiffus.augmentation.scoring import named_rightly
from netdiffus.errors import Note, checked_seed
from netdiffus.evaluation.draws import class_counts
from netdiffus.model.model import Model
from netdiffus.progress import Progress, given_or_bar
from netdiffus.traces.traces import Traces
from netdiffus.training import Recipe

TIMES = (1, 2, 5)


def augment(
    real: Traces,
    model: Model | None = None,
    *,
    validation: Traces | None = None,
    recipe: Recipe | None = None,
    times: Sequence[int] = TIMES,
    classifier: str = "both",
    by: str | None = None,
    sep: str | None = None,
    seed: int = 0,
    device: str | None = None,
    progress: Progress | None = None,
) -> Traces:
    """Returns real traces plus as many synthetic ones as help a classifier, or none.

    The choice is made on validation traces, which no model that makes candidates has learned from.
    There are two ways to get them:

    - `validation` is given. `model` must have learned from `real`, but not from these traces:
      copies of them would look like a gain.
    - `validation` is not given. Then `real` is split three times, with a quarter of each class for
      validation. On the rest a model is trained each time, with the settings of `model` but new
      weights. This takes three more trainings, but the final model learns from every trace, which
      suits 5 to 20 traces of a class. The three models learn from a quarter fewer traces than the
      final one, so the gain is rather understated.

    Candidates are 1, 2 and 5 times as many synthetic traces as real ones and, if classes differ
    in size, classes filled up to once and twice the largest. The controls are the real traces
    alone, and with as many repeated or jittered traces instead of synthetic ones. The classifiers
    are a random forest and a small convolutional network
    (`netdiffus.evaluation.metrics.classifiers.forest` and `.cnn.cnn`). The score is the accuracy on
    validation traces, mean over classes. A candidate helps if its mean gain over the best of its
    three controls is above one standard error, neither classifier is worse, and no other control is
    better. The best candidate that helps is chosen; if none helps, only the real traces are
    returned. A `Note` states the choice and the reason, with the figures.

    Training and validation sets of the classifiers have at most 2,000 random traces.

    Args:
        real: Labelled traces, at least two of each class.
        model: Trained on `real`; None trains with `recipe`.
        validation: Real traces that `model` has not learned from, with the same classes. They are
            not among the traces returned.
        recipe: Of each training; None is that of the model, or two minutes where none is given.
        times: Numbers of synthetic traces to try, as multiples of the real ones of each class.
        classifier: The classifiers that are scored: `forest`, `cnn` or `both`.
        by: Meta column that names a group, such as a capture or a host. Splits then keep groups
            together, and errors are computed over groups.
        sep: The group is only the part of that column's text before `sep`.
        seed: Of splits, classifiers and synthetic traces. The same seed gives the same result if
            the budget is in steps; with a budget of minutes the number of steps may differ.
        device: Where networks are trained and run; None takes CUDA if there is one.
        progress: Called with (share done, a note). None shows a bar, as `train` does.

    Returns:
        The real traces, then the synthetic ones class by class. The meta column `is_synthetic`
        marks the latter; they have `trace_id` and the columns that the model draws, and null in all
        others. A privacy ledger is kept if all traces that were used have the same.

    Raises:
        InputError: Channels or classes of real traces, validation and model differ; one class
            only; a class of one trace; or an argument that cannot be used.

    Warns:
        Note: What was chosen and why.
    """
    traces, choice = augment_with_report(
        real,
        model,
        validation=validation,
        recipe=recipe,
        times=times,
        classifier=classifier,
        by=by,
        sep=sep,
        seed=seed,
        device=device,
        progress=progress,
    )
    warnings.warn(Note(f"augment: {choice}"), stacklevel=2)
    return traces


def augment_with_report(
    real: Traces,
    model: Model | None = None,
    *,
    validation: Traces | None = None,
    recipe: Recipe | None = None,
    times: Sequence[int] = TIMES,
    classifier: str = "both",
    by: str | None = None,
    sep: str | None = None,
    seed: int = 0,
    device: str | None = None,
    progress: Progress | None = None,
) -> tuple[Traces, Choice]:
    """As `augment`, and what was chosen and why, in place of the note.

    Args, errors: see `augment`.
    """
    with given_or_bar(progress, "augment", 1.0) as shown:
        asked = (recipe, times, classifier, by, sep, seed, device)
        real = real.without_empty_classes()
        work, choice = chosen(real, model, validation, shown, *asked)
        made = work.made(choice.made, shown) if choice.plan else None
        shown(1.0, "done")
    return joined(real, made, validation), choice


def chosen(
    real: Traces,
    model: Model | None,
    validation: Traces | None,
    shown: Progress,
    recipe: Recipe | None = None,
    times: Sequence[int] = TIMES,
    classifier: str = "both",
    by: str | None = None,
    sep: str | None = None,
    seed: int = 0,
    device: str | None = None,
) -> tuple[Rounds, Choice]:
    """The rounds of training, and the plan that they choose, see `augment`; no class is empty."""
    seed, times, judges = checked_seed(seed), multiples(times), judges_of(classifier)
    check(real, model, validation)
    counts = class_counts(real.labels, len(real.classes))
    names = plan_names(counts, times)
    work = Rounds(real, model, recipe, names, seed, device)
    rounds = work.given(validation, by, sep, shown) if validation else work.refits(by, sep, shown)
    answers = {
        name: [named_rightly(one, names, name, seed + number) for number, one in enumerate(rounds)]
        for name in judges
    }
    return work, choose(answers, rounds, real.classes, plans(names, counts))
