"""Makes the model that ships with the package, `Model.load("lab")`, with its card and its audit.

OMP_NUM_THREADS=1 python examples/lab_model.py -o netdiffus/data/lab    # a quarter of an hour

Run it again after a change of the model format or of the lab traffic. If it was stopped, it resumes
from the folder `--work`.
"""

from __future__ import annotations

import argparse
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from netdiffus import Model, Recipe, Report, audit, evaluate, lab_traffic, sample, train
from netdiffus.model.files import STATE
from netdiffus.traces.traces import Traces

POINTS = 64  # packets of a flow, as `netdiffus import` takes them
OVER_UDP = ("dns", "voip")  # by netdiffus/data/lab_traffic.md; all others are TCP
HELD, SEED = 0.25, 0  # the links that the model has not seen; README and demo split so, too


def flows() -> Traces:
    """The first packets of each session, with its protocol, which the class says."""
    traces = lab_traffic("packets").truncate(POINTS)
    protocol = ["udp" if name in OVER_UDP else "tcp" for name in traces.label_names]
    return replace(traces, meta=traces.meta.append_column("protocol", pa.array(protocol)))


def learned(learn: Traces, work: Path, minutes: float) -> Model:
    """The trained model; a training that was stopped goes on."""
    recipe = Recipe(cpu_minutes=minutes, seed=SEED)
    model = train(learn, work, recipe=recipe, resume=(work / STATE).exists())
    if model.about["ended"] == "interrupted":
        raise KeyboardInterrupt(f"{work} is kept; run the same command to resume")
    return model


def main(out: Path, work: Path, minutes: float) -> Model:
    """Trains, judges and audits a model, and writes it to `out`."""
    learn, holdout = flows().split(HELD, by="group", seed=SEED)
    model = learned(learn, work, minutes)
    made = sample(model, len(learn), seed=SEED)
    report = evaluate(learn, made, holdout=holdout, by="group", seed=SEED)
    found = audit(model, train=learn, holdout=holdout, seed=SEED)
    model.about |= _said(learn, report, found.figures["answer"])
    shutil.rmtree(out, ignore_errors=True)
    model.save(out)
    found.save_json(out / "audit.json")
    print(report.summary(), found.summary(), sep="\n")
    return model


def _said(learn: Traces, report: Report, answer: dict[str, Any]) -> dict[str, str]:
    """What the card says besides the settings of the training."""
    links = len(set(learn.meta["group"].to_pylist()))
    split = f"lab_traffic('packets').split({HELD}, by='group', seed={SEED})"
    judged = "; ".join(f"{name} {text}" for name, text in report.summary().items())
    return {
        "learned from": f"the first {POINTS} packets of {len(learn)} sessions of the lab traffic "
        f"over {links} links: the first part of {split}",
        "judged by the other links": judged,
        "audit": f"{answer['word']}. {answer['text']} All of it: audit.json",
        "made by": "examples/lab_model.py",
        "licence": "Apache-2.0, as the traffic",
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--out", type=Path, default=Path("netdiffus/data/lab"))
    parser.add_argument("--work", type=Path, default=Path("build/lab_model"))
    parser.add_argument("--minutes", type=float, default=10.0, help="of processor time")
    main(**vars(parser.parse_args()))
