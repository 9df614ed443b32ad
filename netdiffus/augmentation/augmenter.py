"""Real traces in; the same with as many made traces as help out."""

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
    """Real traces and as many made ones as help a classifier, which may be none.

    Validation traces decide, which no model has learned from that made the traces to be judged.
    There are two ways to have them:

    - `validation` is given. `model` must not have learned from these traces: else what is copied
      from them looks like a gain, and the choice is too hopeful. It must have learned from `real`.
    - It is not. Then `real` is divided three times, a quarter of each class to validate by. On the
      rest a model is trained each time, like `model` but from new weights. This takes three more
      trainings, but every trace is learned from in the end, which suits 5 to 20 traces of a class.
      The models that are judged have learned from a quarter less than the one whose traces are
      returned, so the gain is rather understated.

    Tried are 1, 2 and 5 times as many made traces as there are real ones, and, where classes differ
    in size, classes filled up to once and twice the largest. The controls are the real traces
    alone, and with as many repeated or jittered ones in place of made ones. Judges are a random
    forest and a small convolutional network (`netdiffus.evaluation.metrics.classifiers.forest` and
    `.cnn.cnn`), by the share of validation traces named rightly, mean over classes. A number helps
    if the mean gain over the best of its three controls is above one standard error, neither judge
    is worse, and no other control is better. The best number that helps is taken; if none does, the
    real traces are returned alone. A `Note` says what was chosen and why, with the figures.

    Of more than 2,000 traces to learn from or to validate by, 2,000 random ones judge.

    Args:
        real: Labelled traces, at least two of each class.
        model: Trained on `real`; None trains with `recipe`.
        validation: Real traces that `model` has not learned from, with the same classes. They are
            not among the traces returned.
        recipe: Of each training; None is that of the model, or two minutes where none is given.
        times: How many made traces are tried, as multiples of the real ones of each class.
        classifier: `forest`, `cnn` or `both`: who judges.
        by: Meta column that names a group, such as a capture or a host: no group then validates
            what was learned from it, and errors are those of so many groups.
        sep: The group is only the part of that column's text before `sep`.
        seed: Of divisions, classifiers and made traces. Same seed, same result, where trainings
            end by steps; one that ends by the clock may take another number of them.
        device: Where networks are trained and run; None takes CUDA if there is one.
        progress: Called with (share done, a note). None shows a bar, as `train` does.

    Returns:
        The real traces, then the made ones class by class. The meta column `is_synthetic` tells
        them apart; made traces have `trace_id` and the columns that the model draws, and null in
        all others. A privacy ledger is kept where all traces that were used have the same.

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
    seed, times, judges = checked_seed(seed), multiples(times), judges_of(classifier)
    real = real.without_empty_classes()
    check(real, model, validation)
    counts = class_counts(real.labels, len(real.classes))
    names = plan_names(counts, times)
    work = Rounds(real, model, recipe, names, seed, device)
    with given_or_bar(progress, "augment", 1.0) as shown:
        rounds = (
            work.given(validation, by, sep, shown) if validation else work.refits(by, sep, shown)
        )
        answers = {
            name: [
                named_rightly(one, names, name, seed + number) for number, one in enumerate(rounds)
            ]
            for name in judges
        }
        choice = choose(answers, rounds, real.classes, plans(names, counts))
        made = work.made(choice.made, shown) if choice.plan else None
        shown(1.0, "done")
    return joined(real, made, validation), choice
