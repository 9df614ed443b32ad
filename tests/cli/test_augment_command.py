from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest
from command import run
from small import volumes

from netdiffus.parts import Dataset
from netdiffus.traces.traces import Traces

QUICK = ("--times", "1", "--classifier", "forest")


@pytest.fixture(autouse=True)
def _small_cnn() -> Iterator[None]:
    with mock.patch("netdiffus.evaluation.metrics.cnn.STEPS", 2):
        yield


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with traces, others to validate by, and a model."""
    folder = tmp_path_factory.mktemp("work")
    volumes(24).save(folder / "real.parquet")
    volumes(12, seed=5).save(folder / "rest.parquet")
    small = ("--steps", 2, "--width", 8)
    assert run("train", folder / "real.parquet", *small, "-o", folder / "model").code == 0
    return folder


def test_it_writes_the_traces_and_says_why(work: Path, tmp_path: Path) -> None:
    out = tmp_path / "more.parquet"
    given = (work / "real.parquet", work / "model", "--validation", work / "rest.parquet")
    done = run("augment", *given, *QUICK, "-o", out, "--json")
    assert done.code == 0, done.err
    found, traces = json.loads(done.out), Traces.load(out)
    assert found["real"] == 24
    assert len(traces) == 24 + found["made"] == 24 + sum(found["choice"]["made"].values())
    assert traces.meta["is_synthetic"].to_pylist() == [False] * 24 + [True] * found["made"]
    assert "Accuracy on 12 validation traces: forest" in found["why"]
    again = run("augment", *given, *QUICK, "-o", out)
    assert again.code == 2
    assert f"{out}" in again.err  # it is there


def test_it_trains_where_no_model_is_given(work: Path, tmp_path: Path) -> None:
    out = tmp_path / "more.csv"
    done = run("augment", work / "real.parquet", "--steps", 1, *QUICK, "-o", out)
    assert done.code == 0, done.err
    assert "of 3 splits" in done.out
    assert Traces.load(out).counts()["steady"] >= 12


def test_what_cannot_be_used_is_said_before_any_work(work: Path, tmp_path: Path) -> None:
    out = tmp_path / "more.parquet"
    done = run("augment", work / "real.parquet", "--times", "1,many", "-o", out)
    assert (done.code, out.exists()) == (2, False)
    assert "--times 1,many: give whole numbers between commas" in done.err
    done = run("augment", work / "real.parquet", work / "model", "-o", tmp_path / "x.pcap")
    assert done.code == 2
    assert ".pcap" in done.err


def test_a_data_set_becomes_a_data_set(work: Path, tmp_path: Path) -> None:
    real = Traces.load(work / "real.parquet")
    Dataset.write(tmp_path / "real", [real[:10], real[10:]])
    given = (tmp_path / "real", work / "model", "--validation", work / "rest.parquet")
    done = run("augment", *given, *QUICK, "-o", tmp_path / "more", "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert found["real"] == 24
    assert len(Dataset(tmp_path / "more")) == 24 + found["made"]
    assert run("augment", *given, *QUICK, "-o", tmp_path / "more").code == 2  # it is there
    done = run("augment", work / "real.parquet", work / "model", *QUICK, "-o", tmp_path / "other")
    assert done.code == 2
    assert "only a data set goes to a folder" in done.err
