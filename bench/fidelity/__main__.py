"""The command: `python -m bench.fidelity`, from the root of the repository."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bench.fidelity import sets
from bench.fidelity.bars import bars
from bench.fidelity.forests import Protocol
from bench.fidelity.kept import ending_well
from bench.fidelity.peers import PEERS
from bench.fidelity.runs import Plan, run
from bench.fidelity.table import markdown, picture
from netdiffus.files import whole_file, write_text
from netdiffus.networks.build import PRESETS


@ending_well
def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the bench and writes results.json, table.md and curves.png."""
    plan = _plan(_parser().parse_args(arguments))
    results = run(plan)
    for result in results:
        result["checks"] = [{**vars(bar), "passed": bar.passed} for bar in bars(result)]
    write_text(plan.out / "results.json", json.dumps(results, indent=1) + "\n")
    table = markdown(results)
    write_text(plan.out / "table.md", table)
    with whole_file(plan.out / "curves.png") as part, part.open("wb") as file:
        picture(results, file)
    print(table)
    return 0


def _parser() -> argparse.ArgumentParser:
    usual = Plan(Path("fidelity"))
    parser = argparse.ArgumentParser("python -m bench.fidelity", description=__doc__)
    parser.add_argument(
        "--out", type=Path, default=usual.out, help="folder to work in; default %(default)s"
    )
    parser.add_argument("--data", type=Path, help="folder of the public sets")
    parser.add_argument("--sets", nargs="+", choices=list(sets.SETS), default=usual.sets)
    parser.add_argument(
        "--minutes",
        nargs="+",
        type=float,
        default=usual.minutes,
        help="budgets to train for; the longest gets all figures",
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=usual.seeds)
    parser.add_argument(
        "--all-seeds",
        nargs="*",
        choices=list(sets.SETS),
        default=usual.all_seeds,
        help="sets to train with all the seeds, others take the first",
    )
    parser.add_argument(
        "--steps",
        nargs="*",
        type=int,
        default=usual.steps,
        help="sampling steps to compare, if the preset has any",
    )
    parser.add_argument(
        "--peers",
        nargs="*",
        choices=list(PEERS),
        default=usual.peers,
        help="generators that are not ours; none if no name follows",
    )
    parser.add_argument("--preset", choices=PRESETS, default=usual.preset)
    parser.add_argument(
        "--tiny",
        action="store_true",
        help="bundled traffic, seconds of training: does the bench work?",
    )
    return parser


def _plan(given: argparse.Namespace) -> Plan:
    plan = Plan(
        out=given.out,
        data=given.data,
        sets=tuple(given.sets),
        minutes=tuple(given.minutes),
        seeds=tuple(given.seeds),
        all_seeds=tuple(given.all_seeds),
        steps=tuple(given.steps),
        peers=tuple(given.peers),
        preset=given.preset,
    )
    return _tiny(plan) if given.tiny else plan


def _tiny(plan: Plan) -> Plan:
    """The same path in a few seconds; no peers, whose installation alone takes minutes."""
    return replace(
        plan,
        sets=(sets.LAB,),
        minutes=(0.01, 0.02),
        seeds=(0,),
        steps=(2, 4),
        peers=(),
        protocol=Protocol(trees=10, repeats=2, resamples=50),
    )


if __name__ == "__main__":
    sys.exit(main())
