"""What a preset must reach on each set, after the longest training."""

from __future__ import annotations

from collections.abc import Sequence

from bench.duel.summary import Key, Summary
from bench.fidelity.bars import NOT_COPYING, Bar

ABOUT = "Bars are for 10 processor minutes and the mean of three seeds."
LEAST = ("accuracy", "five_times", "with_real")  # others must be at most their bar
BARS: dict[str, dict[str, float]] = {
    "web_doh": {
        "accuracy": 0.755,
        "auc": 0.53,
        "five_times": 0.88,
        "membership auc": 0.62,
        "membership tpr": 0.02,
    },
    "video_platforms": {"accuracy": 0.885, "auc": 0.55},
    "cell5g_apps": {"accuracy": 0.930, "auc": 0.62},
    "alexa_voice": {"accuracy": 0.40, "auc": 0.50, "with_real": 0.47},
    "mirage_appx": {"accuracy": 0.785, "auc": 0.66},
}
MORE_THAN_REPEATED = ("web_doh", "mirage_appx")  # five times as many must beat repeated real ones
NAMES = {
    "accuracy": "accuracy",
    "auc": "two-sample AUC",
    "five_times": "5x accuracy",
    "with_real": "real + synthetic",
    "membership auc": "membership AUC",
    "membership tpr": "membership TPR",
}


def bars(found: Summary, key: Key) -> list[Bar]:
    """All bars of a preset on a set."""
    wanted = BARS.get(key[0], {})
    listed = [
        Bar(NAMES[name], found.mean(key, name), bound, name in LEAST)
        for name, bound in wanted.items()
    ]
    if key[0] in MORE_THAN_REPEATED:
        repeated = found.real(key[0], "five_times")
        listed.append(
            Bar("5x accuracy, repeated real traces'", found.mean(key, "five_times"), repeated, True)
        )
    for other in NOT_COPYING:
        for name in ("accuracy", "auc"):
            bound = found.mean((key[0], other, 0.0), name)
            listed.append(
                Bar(f"{NAMES[name]}, {other}'s", found.mean(key, name), bound, name in LEAST)
            )
    return listed


def text(sets: Sequence[str]) -> str:
    """The bars of these sets, one line each."""
    lines = [ABOUT]
    for name in sets:
        if name in BARS:
            lines.append(f"- {name}: {', '.join(_bar(*one) for one in BARS[name].items())}")
    more = [name for name in MORE_THAN_REPEATED if name in sets]
    if more:
        lines.append(f"- {', '.join(more)}: 5x accuracy above that of real traces repeated 5 times")
    lines.append(f"- every set: accuracy and AUC no worse than those of {', '.join(NOT_COPYING)}")
    return "\n".join(lines)


def _bar(name: str, bound: float) -> str:
    return f"{NAMES[name]} {'≥' if name in LEAST else '≤'} {bound:g}"
