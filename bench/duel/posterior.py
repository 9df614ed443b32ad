"""How well models of a duel recognise classes themselves, by `Model.predict`: after the duel.

python -m bench.duel.posterior --out duel
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bench.duel.summary import error
from bench.fidelity import sets
from bench.tables import markdown
from netdiffus import Model
from netdiffus.traces.traces import Floats


def main(words: Sequence[str] | None = None) -> int:
    """Prints a row for each set: the accuracy on held-out traces, over seeds."""
    reader = argparse.ArgumentParser("python -m bench.duel.posterior", description=__doc__)
    reader.add_argument("--out", type=Path, default=Path("duel"), help="folder of the duel")
    reader.add_argument("--models", default="causal-10min", help="folders of the preset")
    reader.add_argument("--data", type=Path, help="folder of the public sets")
    asked = reader.parse_args(words)
    rows = []
    for folder in sorted(one for one in asked.out.iterdir() if one.is_dir()):
        seeds = sorted(folder.glob(f"seed*/{asked.models}/model"))
        found = np.array([_accuracy(folder.name, one, asked.data) for one in seeds])
        if len(found):
            rows.append([folder.name, len(found), *_shown(found)])
    print(markdown("set | seeds | accuracy, % | standard error", rows), end="")
    return 0


def _accuracy(name: str, folder: Path, data: Path | None) -> float:
    """Share of the held-out traces whose class has the highest posterior probability."""
    seed = int(folder.parts[-3].removeprefix("seed"))
    fs, model = sets.load(name, data, seed=seed), Model.load(folder)
    named = np.array(model.classes)[model.predict(fs.holdout).argmax(axis=1)]
    return float(np.mean(named == fs.holdout.label_names))


def _shown(found: Floats) -> list[str]:
    return [f"{100 * found.mean():.1f}", f"{100 * error(found):.1f}"]


if __name__ == "__main__":
    sys.exit(main())
