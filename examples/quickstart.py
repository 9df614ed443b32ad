"""Trains on the packets of the lab traffic and samples synthetic traces of one class.

python examples/quickstart.py --label voip -n 100 --minutes 2 -o voip.parquet
"""

from __future__ import annotations

import argparse
from pathlib import Path

from netdiffus import Recipe, Traces, lab_traffic, sample, train


def main(label: str, n: int, minutes: float, out: Path) -> Traces:
    traces = lab_traffic("packets")  # length, direction and time of each session's first packets
    print(f"learning from {len(traces)} traces: {', '.join(traces.classes)}")
    model = train(traces, recipe=Recipe(minutes=minutes))

    made = sample(model, n, label=label, seed=0)
    made.save(out)
    print(f"{len(made)} synthetic traces of {label} in {out}; the first one starts:")
    for length, direction, time in made.values[0, :, :5].T:
        print(f"  {time:9.4f} s  {'up  ' if direction > 0 else 'down'}  {length:5.0f} B")
    return made


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Synthetic packets of one class.")
    parser.add_argument("--label", default="voip")
    parser.add_argument("-n", type=int, default=100)
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("-o", "--out", type=Path, default=Path("voip.parquet"))
    main(**vars(parser.parse_args()))
