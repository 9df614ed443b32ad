"""The privacy audit: all attacks on a model, or on the traces that any generator made."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from netdiffus.attacks.all_attacks import Say, black_box, blind, white_box
from netdiffus.attacks.canaries import canary_audit
from netdiffus.attacks.extraction import from_folder, rare_values, whole_traces
from netdiffus.attacks.large import in_memory
from netdiffus.attacks.rates import share
from netdiffus.attacks.refits import audited
from netdiffus.attacks.sides import Sides, as_learned, keys, sides
from netdiffus.attacks.singling_out import singled_out
from netdiffus.attacks.verdict import answer
from netdiffus.errors import InputError, checked_seed, whole
from netdiffus.evaluation.features.embedding import Embedding
from netdiffus.evaluation.features.vector_set import VectorSet
from netdiffus.evaluation.metrics.memorization import CopyDetector, usual_exact
from netdiffus.files import refuse_existing, write_text
from netdiffus.model.files import located
from netdiffus.model.model import Model
from netdiffus.parts import Dataset
from netdiffus.progress import Progress
from netdiffus.sampling import sample
from netdiffus.traces.traces import Traces
from netdiffus.training.resume import recipe_of

MOST = 2000  # members, and non-members, that are attacked
TIMES, MOST_MADE = 5, 10_000  # synthetic traces for each member, and in all at most
BLIND = 0.55  # above this AUC members and non-members differ even without the model
Figures = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Audit:
    """The result of all attacks.

    Attributes:
        figures: Nested mappings, lists, numbers and text: `guarantee` (the ledger, or None),
            `answer`, `sets`, `attacks` (each with `auc`, `tpr` and `roc`), `folder`, `extraction`,
            `singling_out`, `canaries`, `copies`, `notes`; None for what was not done.
    """

    figures: Figures

    def to_json(self) -> str:
        """All figures as JSON; the same figures give the same text."""
        return json.dumps(self.figures, indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    def summary(self) -> dict[str, str]:
        """The answer and each attack, in words."""
        told = {"private": f"{self.figures['answer']['word']}. {self.figures['answer']['text']}"}
        for attack in self.figures["attacks"]:
            auc, rate = attack["auc"], attack["tpr"]["0.01"]["mean"]
            found = "too few non-members for 1% FPR" if rate is None else f"{rate:.1%} at 1% FPR"
            told[attack["name"]] = (
                f"AUC {auc['mean']:.3f} ({auc['low']:.3f}-{auc['high']:.3f}), {found}"
            )
        return told

    def save_html(self, path: str | Path, *, force: bool = False) -> None:
        """Writes one page with every figure, which opens offline.

        Raises:
            FileExistsError: The file is there and `force` is false.
        """
        from netdiffus.attacks.audit_page import page  # matplotlib is slow to import

        refuse_existing(Path(path), force)
        write_text(Path(path), page(self.figures))

    def save_json(self, path: str | Path, *, force: bool = False) -> None:
        """Writes the figures, whole or not at all.

        Raises:
            FileExistsError: The file is there and `force` is false.
        """
        refuse_existing(Path(path), force)
        write_text(Path(path), self.to_json())


def audit(
    model: Model | str | Path | None = None,
    *,
    train: Traces | Dataset,
    holdout: Traces | Dataset,
    synthetic: Traces | Dataset | None = None,
    samples: int | None = None,
    refits: int = 0,
    canaries: int = 0,
    minutes: float | None = None,
    drop_repeats: bool = False,
    most: int = MOST,
    seed: int = 0,
    progress: Progress | None = None,
) -> Audit:
    """Attacks a model, or the synthetic traces of any generator.

    Args:
        model: A model or its folder; None attacks only `synthetic`.
        train: The training traces. Random ones stand for a data set that does not fit into memory;
            that goes for all three sets.
        holdout: Real traces from the same source that were not used in training. A rate at 0.1 %
            false positives needs at least 1,000 of them.
        synthetic: Synthetic traces; None samples them from the model.
        samples: How many traces the model makes; None is five for each member, 10,000 at most.
        refits: Reference models to train, each on a random half of the attacked traces. Two give
            the attack "loss minus reference", four or more also LiRA.
        canaries: Unusual traces that are added to a training of the audit's own. A lower bound on
            epsilon needs at least 1,000. 0: there is no such training.
        minutes: The budget of each of these trainings; None is the budget of the model.
        drop_repeats: Attack only traces that occur once, where the two sets share traces.
        most: Attack at most so many members and so many non-members.
        seed: Of the choice of traces, of the sampling, of the trainings and of the canaries.
        progress: Called with (share done, a note).

    Returns:
        All figures; `save_html` writes the page.

    Raises:
        InputError: Neither a model nor traces, sets that share traces or do not fit, or too few.

    Warns:
        Note: A data set does not fit into memory.
    """
    seed = checked_seed(seed)
    refits, canaries = whole("refits", refits, 0), whole("canaries", canaries, 0)
    folder = located(model) if isinstance(model, (str, Path)) else None
    loaded = Model.load(folder) if folder is not None else model
    _check_asked(loaded, synthetic, samples, refits, canaries)
    assert loaded is None or isinstance(loaded, Model)
    guarantee = ledger_of(loaded if loaded is not None else synthetic)
    if loaded is not None and (refits or canaries):
        _check_trainable(loaded, guarantee, minutes, seed)
    length = None if loaded is None else loaded.codec.length
    sets = in_memory(train, holdout, synthetic, length, seed)
    found = sides(
        sets.train,
        sets.holdout,
        loaded,
        sets.synthetic,
        drop_repeats=drop_repeats,
        most=whole("most", most, 1),
        seed=seed,
    )
    say = _steps(progress, bool(loaded), refits, canaries)
    made = _made(loaded, sets.synthetic, samples, found, seed, say)
    attacks = [blind(found, seed)]
    white = []
    if loaded is not None:
        white = white_box(loaded, found, refits, minutes, seed, say)
    attacks += white + black_box(found, made, seed)
    figures: Figures = {
        "guarantee": guarantee,
        "sets": _sets(found, made, synthetic is not None),
        "attacks": attacks,
        "folder": None if loaded is None else _folder(loaded, folder, found),
        "extraction": {
            "whole": whole_traces(found.train, found.holdout, made),
            "values": rare_values(found.train, found.holdout, made),
        },
        "singling_out": singled_out(found.members, found.others, made, seed),
        "canaries": _canaries(loaded, found, canaries, minutes, len(made), seed, say),
        "copies": _copies(found, made),
        "notes": [*sets.notes, *found.notes, *_notes(attacks)],
        "protocol": {"seed": seed, "refits": refits + refits % 2, "minutes": minutes, "most": most},
    }
    figures["answer"] = answer(figures)
    return Audit(figures)


def ledger_of(source: Model | Traces | Dataset | None) -> Figures | None:
    """The ledger of a model or of traces: its guarantee of differential privacy, or None."""
    found = getattr(source, "ledger", None) or getattr(source, "about", {}).get("ledger")
    return dict(found) if isinstance(found, dict) and found else None


def _check_asked(
    model: object, synthetic: object, samples: int | None, refits: int, canaries: int
) -> None:
    if model is None and synthetic is None:
        raise InputError("nothing to attack: give a model, or synthetic traces (--synthetic)")
    if model is None and (refits or canaries):
        raise InputError(
            "refits and canaries train models like the one that is attacked: give that model, or "
            "leave them out (--refits, --canaries). netdiffus.attacks.canaries.canary_audit takes "
            "any training"
        )
    if samples is not None and synthetic is not None:
        raise InputError("samples: the synthetic traces are given; leave one of them out")


def _check_trainable(
    model: Model, guarantee: Figures | None, minutes: float | None, seed: int
) -> None:
    """Refuses a training that would not be like the model's own, before any work."""
    recipe_of(model, minutes=minutes, seed=seed)
    if guarantee:
        raise InputError(
            "refits and canaries: the model was trained on private traces, but refits would train "
            "on the real ones, so they show nothing. Leave them out (--refits, --canaries), "
            "or give netdiffus.attacks.canaries.canary_audit a function that does both steps"
        )


def _steps(progress: Progress | None, model: bool, refits: int, canaries: int) -> Say:
    """A function of (step, share of that step, note) that reports the progress of the audit."""
    weights = {"sample": 2.0, "loss": 2.0 * model, "refits": 5.0 * refits}
    weights["canaries"] = 10.0 * bool(canaries)
    ends = np.cumsum(list(weights.values()))
    before = dict(zip(weights, ends - list(weights.values()), strict=True))
    total = float(ends[-1]) + 1.0  # what is left is done at the end

    def say(step: str, share_done: float, note: str) -> None:
        if progress:
            progress((before[step] + share_done * weights[step]) / total, note)

    return say


def _made(
    model: Model | None,
    synthetic: Traces | None,
    samples: int | None,
    found: Sides,
    seed: int,
    say: Say,
) -> Traces:
    """The synthetic traces of the black-box attacks: in the classes of the members, with gaps."""
    known = found.train.with_gaps()
    if synthetic is not None:
        return as_learned(synthetic.with_gaps(), known, "synthetic")
    assert model is not None
    n = whole("samples", samples or min(TIMES * len(found.members), MOST_MADE), 1)
    labels = [model.classes[k] for k in found.members.labels]
    made = sample(
        model, n, label=labels, seed=seed, progress=lambda done, note: say("sample", done / n, note)
    )
    return as_learned(made.with_gaps(), known, "synthetic")


def _folder(model: Model, folder: Path | None, found: Sides) -> Figures:
    if folder is not None:
        return from_folder(folder, found.train, found.holdout)
    with tempfile.TemporaryDirectory() as scratch:
        model.save(Path(scratch) / "model")
        return from_folder(Path(scratch) / "model", found.train, found.holdout)


def _canaries(
    model: Model | None,
    found: Sides,
    count: int,
    minutes: float | None,
    made: int,
    seed: int,
    say: Say,
) -> Figures | None:
    if model is None or not count:
        return None
    learn = audited(model, minutes, made, seed, lambda done, note: say("canaries", done, note))
    return canary_audit(found.train, learn, count, seed=seed)


def _copies(found: Sides, made: Traces) -> Figures:
    """Exact copies, near copies, and the share that is closer to members than to non-members."""
    ours, theirs, of_made = (keys(t) for t in (found.train, found.holdout, made))
    known, held = set(ours), set(theirs)
    embed = Embedding(found.others.with_gaps())
    there = np.isin(made.labels, found.others.labels)
    near = None
    if there.any():
        sets = (made[there], found.members, found.others)
        made_here, members, others = (_vectors(embed, t) for t in sets)
        near = CopyDetector(members, others).of(made_here)
    return {
        "exact": share(sum(key in known for key in of_made), len(made)),
        "exact_of_holdout": share(sum(key in held for key in of_made), len(made)),
        "usual": float(usual_exact(ours + theirs, len(ours)).mean()),
        "near": None if near is None else float(near.near.mean()),
        "closer": None if near is None else float(near.closer.mean()),
    }


def _vectors(embedding: Embedding, traces: Traces) -> VectorSet:
    return VectorSet(embedding(traces.with_gaps()), traces.labels, np.arange(len(traces)))


def _sets(found: Sides, made: Traces, given: bool) -> Figures:
    return {
        "classes": list(found.train.classes),
        "channels": [channel.title for channel in found.train.channels],
        "train": len(found.train),
        "holdout": len(found.holdout),
        "members": len(found.members),
        "others": len(found.others),
        "synthetic": len(made),
        "synthetic_given": given,
        "longest": int(found.train.lengths.max()),
    }


def _notes(attacks: Sequence[Figures]) -> list[str]:
    blind = attacks[0]["auc"]
    if blind["low"] <= BLIND:
        return []
    return [
        f"Training and holdout traces differ by themselves: a forest that never sees the model "
        f"separates them with an AUC of {blind['mean']:.3f}. The attacks may find this difference "
        "instead of what the model learned. To rule it out, split one set at random."
    ]
