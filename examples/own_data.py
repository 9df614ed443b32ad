"""From a table with one row per packet to synthetic traces and their evaluation.

python examples/own_data.py --minutes 2 -o report.html

The table is a toy example; use yours instead of `toy_packets`. Needs pandas and netdiffus[eval].
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from netdiffus import Recipe, Report, Traces, evaluate, sample, train

APPS = {"chat": (20, 0.5, 200), "game": (60, 0.05, 120), "call": (90, 0.02, 250)}


def toy_packets(flows: int = 120, hosts: int = 8) -> pd.DataFrame:
    """Packets of some flows of three applications: count, gap [s] and size [B] differ."""
    rng = np.random.default_rng(0)
    parts = []
    for flow in range(flows):
        app = list(APPS)[flow % len(APPS)]
        count, gap, size = APPS[app]
        n = rng.integers(count // 2, count)
        parts.append(
            pd.DataFrame(
                {
                    "flow": flow,
                    "host": f"host-{flow // len(APPS) % hosts}",
                    "app": app,
                    "time": 1.7e9 + 60 * flow + np.cumsum(rng.exponential(gap, n)),
                    "bytes": rng.poisson(size, n) + 40,
                    "from_client": rng.random(n) < 0.4,
                }
            )
        )
    return pd.concat(parts).sort_values("time")


def to_traces(packets: pd.DataFrame) -> Traces:
    """One trace per flow: sizes, directions, and seconds since its first packet."""
    flows = packets.sort_values("time").groupby("flow")
    return Traces.from_lists(
        {
            "packet_length": flows["bytes"].agg(list),
            "direction": flows["from_client"].agg(lambda up: np.where(up, 1, -1).tolist()),
            "timestamp": flows["time"].agg(lambda time: (time - time.iloc[0]).tolist()),
        },
        labels=flows["app"].first(),
        meta={"host": flows["host"].first()},
    )


def main(minutes: float, out: Path) -> Report:
    traces = to_traces(toy_packets())
    learn, holdout = traces.split(0.3, by="host", seed=0)  # each host is on one side only
    model = train(learn, recipe=Recipe(minutes=minutes))
    made = sample(model, len(learn), seed=0)
    report = evaluate(learn, made, holdout=holdout, by="host")
    report.save_html(out, force=True)
    for title, figure in report.summary().items():
        print(f"{title}: {figure}")
    return report


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Synthetic traces from a table of packets.")
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("-o", "--out", type=Path, default=Path("report.html"))
    main(**vars(parser.parse_args()))
