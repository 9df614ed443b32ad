"""The result of an evaluation: figures for machines, a page for people."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from netdiffus.evaluation.verdict import keys
from netdiffus.files import refuse_existing, write_text
from netdiffus.traces import Traces


@dataclass(frozen=True, eq=False)
class Report:
    """What `evaluate` found.

    Attributes:
        figures: Nested mappings, lists, numbers and text:
            `protocol` (how the sets were compared), `sets` (what they hold), `candidates` (for
            `synthetic`, `real`, `copy`, `jitter`, `bootstrap` and `markov` every figure as `mean`,
            its standard error `sd`, and its 95 % interval `low` to `high`; null where there is
            none), `usual` (copies among real traces themselves), `about`, and `ledger` (what
            privacy the synthetic traces are guaranteed, or null).
        real: Real traces that the generator learned from, times as gaps.
        synthetic: The traces judged.
        holdout: The real traces they were judged by.
        history: Training log, one mapping with `step` and `loss` each.
    """

    figures: dict[str, Any]
    real: Traces
    synthetic: Traces
    holdout: Traces
    history: tuple[Mapping[str, Any], ...] = ()

    def to_json(self) -> str:
        """All figures as JSON; the same figures give the same text."""
        return json.dumps(self.figures, indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    def summary(self) -> dict[str, str]:
        """The key figures beside those of real traces, in words."""
        return {k.title: f"{k.value} (real: {k.floor}), {k.grade}" for k in keys(self.figures)}

    def save_json(self, path: str | Path, *, force: bool = False) -> None:
        """Writes the figures, whole or not at all.

        Raises:
            FileExistsError: The file is there and `force` is false.
        """
        _save(Path(path), self.to_json(), force)

    def save_html(self, path: str | Path, *, force: bool = False) -> None:
        """Writes one page with every figure and picture inside, which opens offline.

        Raises:
            FileExistsError: The file is there and `force` is false.
        """
        from netdiffus.evaluation.page import page  # matplotlib is slow to import

        refuse_existing(Path(path), force)
        _save(Path(path), page(self), force)


def _save(path: Path, text: str, force: bool) -> None:
    refuse_existing(path, force)
    write_text(path, text)
