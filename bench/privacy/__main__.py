"""The command: `python -m bench.privacy [curve | attacks | rare]`, from the repository's root."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.fidelity.forests import Protocol
from bench.privacy import attacks, rare
from bench.privacy.curve import SETS, curve, needs_data, write
from netdiffus.files import write_text


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one of the benches; without its name the curve over epsilon."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    benches = {"curve": _curve, "attacks": attacks.main, "rare": rare.main}
    name = words.pop(0) if words and words[0] in benches else "curve"
    return benches[name](words)


def _curve(words: Sequence[str]) -> int:
    """Prints the table and writes results.json."""
    parser = argparse.ArgumentParser("python -m bench.privacy curve", description=__doc__)
    parser.add_argument("--sets", nargs="+", choices=list(SETS), default=list(SETS))
    parser.add_argument("--epsilons", nargs="+", type=float, default=[1.0, 4.0, 8.0])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--mix", choices=("real", "balanced"), default="balanced")
    parser.add_argument("--trees", type=int, default=Protocol().trees)
    parser.add_argument("--out", type=Path, help="file for the figures, JSON")
    given = parser.parse_args(words)
    for name in given.sets:
        path = needs_data(name)
        if path is not None and not path.is_file():
            print(f"error: {path}: no such file; set NETDIFFUS_DATA", file=sys.stderr)
            return 2
    protocol = Protocol(trees=given.trees, repeats=1, resamples=2)  # no intervals are shown
    rows = []
    for name in given.sets:
        rows += curve(name, given.epsilons, given.runs, protocol, given.mix)
        print(write(rows), flush=True)
    if given.out is not None:
        write_text(given.out, json.dumps(rows, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
