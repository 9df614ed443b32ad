"""The model that ships with the package."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from netdiffus.errors import InputError
from netdiffus.export.capture import write_capture
from netdiffus.model.files import SHIPPED
from netdiffus.model.model import Model
from netdiffus.sampling import sample
from netdiffus.traces.lab import lab_traffic

FOLDER = SHIPPED["lab"]
AGAIN = "make it again: OMP_NUM_THREADS=1 python examples/lab_model.py -o netdiffus/data/lab"


@pytest.fixture(scope="module")
def model() -> Model:
    try:
        return Model.load("lab")
    except InputError as error:
        pytest.fail(f"{error}\nThe model that ships does not fit this version: {AGAIN}")


@pytest.fixture
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_it_is_small_and_has_its_card_and_audit() -> None:
    sizes = {path.name: path.stat().st_size for path in FOLDER.iterdir()}
    assert set(sizes) == {"README.md", "audit.json", "config.json", "model.safetensors"}
    assert sum(sizes.values()) < 2e6
    card = (FOLDER / "README.md").read_text()
    for said in ("judged by the other links", "audit", "examples/lab_model.py", "Apache-2.0"):
        assert said in card
    audit = json.loads((FOLDER / "audit.json").read_text())
    assert audit["answer"]["text"] in card.replace("\\", "")
    assert audit["folder"]["checkpoint"] is False


def test_it_has_not_seen_the_links_that_judge_it(model: Model) -> None:
    learn, _ = lab_traffic("packets").split(0.25, by="group", seed=0)
    assert model.about["traces"] == len(learn)
    assert model.classes == learn.classes


@pytest.mark.usefixtures("_elsewhere")
def test_it_makes_a_capture_at_once(model: Model, tmp_path: Path) -> None:
    made = sample(model, 45, seed=0)
    assert set(made.counts().values()) == {5}
    pairs = zip(made.label_names, made.meta["protocol"].to_pylist(), strict=True)
    udp = {name for name, protocol in pairs if protocol == "udp"}
    assert udp == {"dns", "voip"}
    done = write_capture(made, tmp_path / "x.pcap")
    assert done["packets"] == made.lengths.sum()


@pytest.mark.usefixtures("_elsewhere")
def test_a_folder_of_that_name_comes_first(tmp_path: Path) -> None:
    (tmp_path / "lab").mkdir()
    with pytest.raises(InputError, match="lab"):
        Model.load("lab")


def test_loading_imports_no_compiler_of_torch() -> None:
    """It would take two seconds, where the weights take 0.02."""
    code = "import sys; from netdiffus import Model; Model.load('lab'); print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "netdiffus.model.model" in run.stdout.split()
    assert "torch._dynamo" not in run.stdout.split()
