from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import wasserstein_distance

from bench import flow_figures as figures
from bench.flow_tables import FLOOR, INDEPENDENT, judged, main, rows_of
from netdiffus.traces.traces import Traces


def cells(values: object) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(values)])


def test_divergence_is_the_square_of_the_distance_of_scipy() -> None:
    rng = np.random.default_rng(0)
    shares = np.array([[5, 4, 1, 0, 0, 0], [1, 2, 3, 2, 1, 1]]) / 10
    a, b = (rng.choice(list("abcdef"), 300, p=p) for p in shares)
    p, q = ([np.mean(one == value) for value in "abcdef"] for one in (a, b))
    found = figures.divergence(cells(a.tolist()), cells(b.tolist()))
    assert found == pytest.approx(jensenshannon(p, q) ** 2)


def test_an_empty_cell_is_a_value_of_a_category() -> None:
    assert figures.divergence(cells(["a", None]), cells(["b", "b"])) == pytest.approx(np.log(2))
    assert figures.divergence(cells(["a", None]), cells([None, "a"])) == pytest.approx(0)


def test_earth_mover_is_that_of_scipy() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.lognormal(3, 2, 400), rng.integers(0, 50, 170).astype(float)
    found = figures.earth_mover(cells(a), cells(b))
    assert found == pytest.approx(wasserstein_distance(a, b))
    with_empty = pa.chunked_array([pa.array([*b, None], pa.float64())])
    assert figures.earth_mover(cells(a), with_empty) == pytest.approx(found)


def test_distances_are_normalised_field_by_field() -> None:
    distances = np.array([[1.0, 30, 7], [3, 10, 7], [2, 20, 7]])
    expected = [[0.1, 0.9, 0.1], [0.9, 0.1, 0.1], [0.5, 0.5, 0.1]]
    assert figures.normalised(distances) == pytest.approx(np.array(expected))


def test_contingency_of_one_pair() -> None:
    held = pa.table({"a": ["x", "x", "y", "y"], "b": ["1", "1", "2", "2"]})
    made = pa.table({"a": ["x", "x", "y", "y"], "b": ["1", "2", "1", "2"]})
    joint = np.array([[0.5, 0], [0, 0.5]]) - np.full((2, 2), 0.25)
    assert figures.contingency(made, held) == pytest.approx(np.linalg.norm(joint))


def of_flows(n: int, path: Path) -> Path:
    """A NetFlow table in which class and bytes follow from the port, and addresses are numbers."""
    rng = np.random.default_rng(0)
    lines = ["srcip,dstip,dstport,proto,ts,td,pkt,byt,label"]
    for i in range(n):
        name, port, size = (("web", 443, 900), ("dns", 53, 80))[i % 2]
        count, seconds = 1 + int(rng.integers(9)), rng.uniform(0, 5)
        lines.append(
            f"{i % 7},{i % 5},{port},TCP,{i / 8},{seconds:.3f},{count},{count * size},{name}"
        )
    path.write_text("\n".join(lines) + "\n")
    return path


def test_rows_have_no_addresses_and_judge_controls_rightly(tmp_path: Path) -> None:
    with pytest.warns(match="one row is one flow"):
        traces = Traces.load(of_flows(400, tmp_path / "t.csv"))
    rows = rows_of(traces)
    assert figures.fields(rows.drop_columns(["srcip", "dstip"]), number=False) == [
        "label", "server_port", "protocol",
    ]  # fmt: skip
    train, held = rows.slice(0, 200), rows.slice(200)
    rng = np.random.default_rng(0)
    shuffled = {n: train[n].take(pa.array(rng.permutation(200))) for n in train.column_names}
    found = judged({FLOOR: train, INDEPENDENT: pa.table(shuffled)}, train, held, 0)
    floor, independent = found[FLOOR], found[INDEPENDENT]
    assert floor["TSTR accuracy"] == 1.0
    assert independent["TSTR accuracy"] < 0.75  # 0.5 by chance, and 7 sigma of 200 rows
    assert floor["JSD, mean"] == pytest.approx(independent["JSD, mean"])
    assert independent["association error"] > 2 * floor["association error"]
    assert independent["two-sample AUC"] > 0.9
    assert floor["exact copies"] == 0  # no two of these rows begin at the same time


@pytest.mark.filterwarnings("ignore::netdiffus.errors.Note")
def test_a_short_bench_prints_every_generator(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "TREES", 10)
    path = of_flows(120, tmp_path / "t.csv")
    assert main([str(path), "--minutes", "0.02", "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert (
        "| mean of the seeds | training rows (floor) | bootstrap | independent columns | default |"
        in said
    )
    assert "| EMD of byt |" in said
    assert "ip |" not in said
