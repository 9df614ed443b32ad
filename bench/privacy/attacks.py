"""All attacks on a copy of the training traces and on the default network, set by set.

python -m bench.privacy.attacks web_doh alexa_voice --minutes 10 --out privacy
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from bench.fidelity import sets
from bench.fidelity.sets import FidelitySet
from netdiffus import Audit, Model, Recipe, audit, train
from netdiffus.errors import InputError
from netdiffus.files import write_text

HEADER = (
    "| set | attacked | attack | AUC (95 %) | at 1 % FPR | at 0.1 % | members | non-members |",
    "| --- | --- | --- | --- | --- | --- | --- | --- |",
)


def main(words: list[str] | None = None) -> int:
    """Prints the table, and writes it with every audit below `--out`."""
    asked = _asked(words)
    rows: list[str] = []
    try:
        for name in asked.sets:
            fs = sets.load(name, asked.data, seed=asked.seed)
            for attacked, found in _audits(fs, asked).items():
                found.save_html(asked.out / name / f"{attacked}.html", force=True)
                found.save_json(asked.out / name / f"{attacked}.json", force=True)
                rows += [_row(name, attacked, one) for one in found.figures["attacks"]]
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    table = "\n".join([*HEADER, *rows]) + "\n"
    write_text(asked.out / "attacks.md", table)
    print(table, end="")
    return 0


def _audits(fs: FidelitySet, asked: argparse.Namespace) -> dict[str, Audit]:
    """The split of the bench leaves equal traces on both sides: only those alone are attacked."""
    given: dict[str, Any] = {"train": fs.train, "holdout": fs.holdout, "drop_repeats": True}
    given["seed"] = asked.seed
    copied = audit(synthetic=fs.train, **given)
    model = _model(fs, asked)
    more = {"refits": asked.refits, "canaries": asked.canaries}
    return {"copy": copied, "default": audit(model, **given, **more)}


def _model(fs: FidelitySet, asked: argparse.Namespace) -> Path:
    """Trains, unless it is there."""
    folder: Path = asked.out / fs.name / f"model-{asked.minutes:g}min-seed{asked.seed}"
    if not folder.exists():
        train(fs.train, folder, recipe=Recipe(cpu_minutes=asked.minutes, seed=asked.seed))
    if Model.load(folder).about["ended"] == "interrupted":
        raise InputError(f"{folder}: its training was interrupted; remove it to train again")
    return folder


def _row(name: str, attacked: str, attack: dict[str, Any]) -> str:
    auc = attack["auc"]
    rates = [attack["tpr"][rate] for rate in ("0.01", "0.001")]
    told = ["-" if r["mean"] is None else _interval(r, ".1%") for r in rates]
    area = _interval(auc, ".3f")
    which = f"{attack['name']} ({attack['kind']})"
    cells = [name, attacked, which, area, *told, attack["members"], attack["others"]]
    return f"| {' | '.join(map(str, cells))} |"


def _interval(found: dict[str, Any], form: str) -> str:
    return f"{found['mean']:{form}} ({found['low']:{form}} to {found['high']:{form}})"


def _asked(words: list[str] | None) -> argparse.Namespace:
    about = "All attacks on a copy of the training traces and on the default network."
    reader = argparse.ArgumentParser(prog="bench.privacy.attacks", description=about)
    reader.add_argument("sets", nargs="+", help=f"of {', '.join(sets.SETS)}")
    reader.add_argument("--minutes", type=float, default=10.0, help="processor minutes to train")
    reader.add_argument("--refits", type=int, default=0, help="4 or more give LiRA")
    reader.add_argument("--canaries", type=int, default=0, help="1000 give a bound of epsilon")
    reader.add_argument("--data", type=Path, help="folder of the public sets")
    reader.add_argument("--out", type=Path, default=Path("privacy"))
    reader.add_argument("--seed", type=int, default=0)
    return reader.parse_args(words)


if __name__ == "__main__":
    sys.exit(main())
