"""Is it private? The answer of an audit, by stated rules."""

from __future__ import annotations

from typing import Any

FAR_AUC = 0.6  # an attack whose interval of the AUC lies above this is a leak
ERRORS = 3.0  # standard errors above 0.5; several attacks are tried at once
RULES = (
    "No, if any of these holds: the 95% interval of the AUC of an attack is above 0.6; training "
    "traces are rebuilt from the folder, or sampled with every point, more often than held-out "
    "ones, with separate intervals; a canary is sampled; the lower bound of epsilon is above the "
    "guarantee. In doubt: the AUC of an attack is over 3 standard errors above 0.5, or the "
    "interval of its true-positive rate, at a false-positive rate of 1% or 0.1%, is above that of "
    "the false-positive rate. Otherwise: guaranteed, if there is a guarantee; if not, no leak "
    "found, which does not prove that there is none."
)
Answer = dict[str, str]
_NONE = "No attack is clearly better than chance."


def answer(figures: dict[str, Any]) -> Answer:
    """`question`, `word`, `grade` (`far`, `near`, `at the floor` or empty) and `text`.

    Args:
        figures: Of an `Audit`.
    """
    worst, told = _leaks(figures), strongest(figures)
    guarantee = figures["guarantee"]
    promised = _promise(guarantee)
    if worst:
        word, grade, text = "No", "far", " ".join(worst)
    elif doubts := [a for a in attacks(figures) if _is_doubtful(a)]:
        names = ", ".join(a["name"] for a in doubts)
        word, grade, text = "In doubt", "near", f"Better than chance: {names}. {told}"
    elif guarantee:
        word, grade, text = "Guaranteed", "at the floor", f"{_NONE} {told}"
    else:
        word, grade, text = "No leak found", "", f"{_NONE} {told}"
    text = f"{text} {promised}"
    return {"question": "Is it private?", "word": word, "grade": grade, "text": text}


def attacks(figures: dict[str, Any]) -> list[dict[str, Any]]:
    """All attacks, without the control."""
    return [a for a in figures["attacks"] if a["kind"] != "control"]


def strongest(figures: dict[str, Any]) -> str:
    """The attack with the highest AUC, in words."""
    best = max(attacks(figures), key=lambda a: float(a["auc"]["mean"]))
    auc, rate = best["auc"], best["tpr"]["0.01"]
    found = "" if rate["mean"] is None else f" and finds {rate['mean']:.1%} of members at 1% FPR"
    return (
        f"The strongest attack ({best['name']}) has an AUC of {auc['mean']:.3f} "
        f"({auc['low']:.3f} to {auc['high']:.3f}; 0.5 is chance){found}, with "
        f"{best['others']:,} non-members."
    )


def _leaks(figures: dict[str, Any]) -> list[str]:
    """The reasons for which the answer is no."""
    best = max(attacks(figures), key=lambda a: float(a["auc"]["low"]))
    found = [strongest(figures)] if best["auc"]["low"] > FAR_AUC else []
    folder, whole = figures["folder"], figures["extraction"]["whole"]
    if folder and _is_more(folder["rebuilt"]):
        n = folder["rebuilt"]["train"]["found"]
        found.append(f"{n:,} training traces can be rebuilt from numbers in the model folder.")
    if _is_more(whole):
        found.append(
            f"{whole['train']['found']:,} different training traces were sampled with every point."
        )
    return found + _of_canaries(figures)


def _is_more(sides: dict[str, Any]) -> bool:
    """Whether the interval for training traces lies above that for held-out ones."""
    ours, theirs = sides["train"], sides["holdout"]
    return bool(ours["found"] and ours["low"] > (theirs["high"] or 0.0))


def _of_canaries(figures: dict[str, Any]) -> list[str]:
    canaries, guarantee = figures["canaries"], figures["guarantee"]
    if not canaries:
        return []
    found = []
    if n := canaries["regenerated"]["found"]:
        found.append(f"{n:,} canaries were sampled with every point.")
    if canaries["attack"]["auc"]["low"] > FAR_AUC:
        auc = canaries["attack"]["auc"]["mean"]
        found.append(f"Added canaries are distinguished from others with an AUC of {auc:.3f}.")
    bound, promised = canaries["epsilon"]["epsilon"], _promised(guarantee or {}).get("epsilon")
    if bound is not None and isinstance(promised, (int, float)) and bound > promised:
        found.append(f"Epsilon is at least {bound:.2f}, more than the guarantee of {promised:g}.")
    return found


def _is_doubtful(attack: dict[str, Any]) -> bool:
    auc = attack["auc"]
    surely = any(
        rate["mean"] is not None and rate["low"] > rate["fpr_high"]
        for rate in attack["tpr"].values()
    )
    return surely or auc["mean"] - 0.5 > ERRORS * max(auc["sd"], 1e-12)


def _promise(guarantee: dict[str, Any] | None) -> str:
    if not guarantee:
        return "Nothing is guaranteed (no differential privacy)."
    epsilon, delta = (_promised(guarantee).get(name) for name in ("epsilon", "delta"))
    if not isinstance(epsilon, (int, float)):
        return "The model comes with a ledger; see the guarantee."
    also = f", delta {delta:g}" if isinstance(delta, (int, float)) else ""
    return f"Guaranteed: differential privacy with epsilon {epsilon:g}{also}."


def _promised(guarantee: dict[str, Any]) -> dict[str, Any]:
    """The guarantee for all releases of the data together, if the ledger has one."""
    total = guarantee.get("total")
    return total if isinstance(total, dict) and "epsilon" in total else guarantee
