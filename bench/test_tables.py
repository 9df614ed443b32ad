"""What tables cost: CSV by its number of columns."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from netdiffus.traces.traces import Traces

ROWS, FEW, MANY = 1_000, 20, 160


def write(path: Path, columns: int) -> Path:
    """A CSV file with a channel, and so many columns of numbers, text and lists in equal parts."""
    rng = np.random.default_rng(0)
    kinds = ("n{}", "t{}", "l{}")
    names = [kinds[k % 3].format(k) for k in range(columns)]
    cells = {"n": "7.25", "t": "some words", "l": '"[1,2]"'}
    row = ",".join(cells[name[0]] for name in names)
    sizes = rng.integers(40, 1500, ROWS)
    lines = [f'a,"[{size},{size}]",{row}' for size in sizes]
    path.write_text("\n".join([f"label,packet_length,{','.join(names)}", *lines]) + "\n")
    return path


def seconds(path: Path) -> float:
    """Processor time of reading, the least of three."""
    found = []
    for _ in range(3):
        began = time.process_time()
        assert len(Traces.load(path)) == ROWS
        found.append(time.process_time() - began)
    return min(found)


def test_k_columns_cost_k(tmp_path: Path) -> None:
    few, many = (seconds(write(tmp_path / f"{k}.csv", k)) for k in (FEW, MANY))
    power = np.log(many / few) / np.log(MANY / FEW)
    print(f"\n{FEW} columns {few:.3f} s, {MANY} columns {many:.3f} s: k^{power:.2f}")
    assert power < 1.25
