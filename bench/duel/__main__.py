"""The command: `python -m bench.duel`, from the root of the repository."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from subprocess import CalledProcessError

from bench.duel.plan import Judges, Plan
from bench.duel.rule import decide
from bench.duel.runs import run
from bench.duel.summary import Summary
from bench.duel.table import markdown, preface
from bench.fidelity import sets
from netdiffus.errors import InputError
from netdiffus.files import write_text


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints rule and bars, runs the duel, and writes results.json and table.md."""
    plan = _plan(_parser().parse_args(arguments))
    print(preface(plan), flush=True)
    try:
        records = run(plan)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except CalledProcessError as error:
        print("error: a part failed, see above; the same command goes on from it", file=sys.stderr)
        return error.returncode
    except KeyboardInterrupt:
        print("Stopped; the same command goes on from here.", file=sys.stderr)
        return 130
    found = Summary(records)
    decision = decide(found, plan.sets, plan.presets, plan.longest)
    write_text(plan.out / "results.json", json.dumps(records, indent=1) + "\n")
    table = markdown(plan, found, decision)
    write_text(plan.out / "table.md", table)
    print(table)
    return 0


def _parser() -> argparse.ArgumentParser:
    usual, judges = Plan(Path("duel")), Judges()
    parser = argparse.ArgumentParser("python -m bench.duel", description=__doc__)
    add = parser.add_argument
    add("--out", type=Path, default=usual.out, help="folder to work in; default %(default)s")
    add("--data", type=Path, help="folder of the public sets")
    add("--sets", nargs="+", choices=list(sets.SETS), default=usual.sets)
    add("--presets", nargs="+", choices=usual.presets, default=usual.presets)
    add("--seeds", nargs="+", type=int, default=usual.seeds, help="of split and training")
    add(
        "--minutes",
        nargs="+",
        type=float,
        default=usual.minutes,
        help="of processor time; bars and rule look at the longest",
    )
    add("--trees", type=int, default=judges.trees, help="of a forest; default %(default)s")
    add("--forests", type=int, default=judges.repeats, help="a figure; default %(default)s")
    add("--tiny", action="store_true", help="bundled traffic, a second of training: does it work?")
    return parser


def _plan(given: argparse.Namespace) -> Plan:
    plan = Plan(
        out=given.out.resolve(),
        sets=tuple(given.sets),
        presets=tuple(given.presets),
        seeds=tuple(given.seeds),
        minutes=tuple(given.minutes),
        judges=Judges(given.trees, given.forests),
        data=given.data and given.data.resolve(),
    )
    return _tiny(plan) if given.tiny else plan


def _tiny(plan: Plan) -> Plan:
    """The same path in a few seconds for each preset."""
    judges = Judges(trees=10, repeats=1)
    return replace(plan, sets=(sets.LAB,), seeds=(0,), minutes=(1 / 60,), judges=judges)


if __name__ == "__main__":
    sys.exit(main())
