"""Compares synthetic traces, from any generator, with real ones."""

from __future__ import annotations

try:
    from netdiffus.evaluation.baselines import bootstrap, copy, jitter, markov
    from netdiffus.evaluation.evaluator import evaluate
    from netdiffus.evaluation.report.report import Report
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"evaluation needs {error.name}, which is not installed: pip install 'netdiffus[eval]'",
        name=error.name,
    ) from error

__all__ = ["Report", "bootstrap", "copy", "evaluate", "jitter", "markov"]
