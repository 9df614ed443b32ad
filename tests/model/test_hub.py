"""Models go to a hub and come back, by huggingface_hub against a server of our own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml
from hub_server import Hub, serving
from huggingface_hub import ModelCard, constants
from small import packets

from netdiffus.codec import TokenCodec
from netdiffus.errors import InputError
from netdiffus.model.model import Model

FILES = ["README.md", "config.json", "model.safetensors"]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub where HF_ENDPOINT would have it, which huggingface_hub reads when it is imported."""
    with serving() as one:
        endpoint(monkeypatch, one.address)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_IMPLICIT_TOKEN", True)
        yield one


def endpoint(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    files = f"{address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", files)


@pytest.fixture(scope="module")
def model() -> Model:
    return Model.new(packets(30), TokenCodec(), preset="causal", width=8)


def test_a_model_goes_to_a_hub_and_comes_back(model: Model, hub: Hub, tmp_path: Path) -> None:
    address = model.push_to_hub("me/flows", license="apache-2.0", token="hf_secret")
    assert address.startswith(f"{hub.address}/me/flows/commit/")
    assert sorted(hub.files["me/flows"]) == FILES
    assert hub.private == {"me/flows": True}
    assert hub.tokens == {"Bearer hf_secret"}
    again = Model.from_pretrained("me/flows", cache_dir=tmp_path)
    assert again.config() == model.config()
    for name, tensor in model.network.state_dict().items():
        assert torch.equal(again.network.state_dict()[name], tensor)
    model.push_to_hub("me/flows", token="hf_secret")  # again, into what is there
    assert sorted(hub.files["me/flows"]) == FILES


def test_what_goes_there_is_what_save_writes(model: Model, hub: Hub, tmp_path: Path) -> None:
    model.push_to_hub("me/flows", private=False, token="t")
    model.save(tmp_path / "m")
    written = {path.name: path.read_bytes() for path in (tmp_path / "m").iterdir()}
    assert hub.files["me/flows"] == written
    assert hub.private == {"me/flows": False}


def test_only_the_files_of_a_model_are_fetched(model: Model, hub: Hub, tmp_path: Path) -> None:
    model.push_to_hub("me/flows", token="t")
    hub.files["me/flows"] |= {"run.py": b"raise SystemExit", "checkpoint/state.safetensors": b""}
    Model.from_pretrained("me/flows", cache_dir=tmp_path)
    fetched = {path.rsplit("/", 1)[1] for path in hub.asked if "/resolve/" in path}
    assert sorted(fetched) == FILES


def test_a_folder_of_ones_own(model: Model, tmp_path: Path) -> None:
    model.save(tmp_path / "m")
    assert Model.from_pretrained(tmp_path / "m").config() == model.config()


def test_what_comes_is_checked_as_a_strangers_folder(
    model: Model, hub: Hub, tmp_path: Path
) -> None:
    model.push_to_hub("me/flows", token="t")
    config = json.loads(hub.files["me/flows"]["config.json"])
    config["network"]["width"] = 10**6
    hub.files["me/flows"]["config.json"] = json.dumps(config).encode()
    with pytest.raises(InputError, match=r"me/flows: .*width"):
        Model.from_pretrained("me/flows", cache_dir=tmp_path)


def test_errors_name_the_repository(model: Model, hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"me/none: the hub says: .*check the name"):
        Model.from_pretrained("me/none", cache_dir=tmp_path)
    for name in ("a/b/c", "../up", ""):
        with pytest.raises(InputError, match="no name of a repository"):
            Model.from_pretrained(name or "-", cache_dir=tmp_path)
    with pytest.raises(InputError, match="license 'my own': give its identifier"):
        model.push_to_hub("me/flows", license="my own")
    assert hub.files == {}


def test_no_hub_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    endpoint(monkeypatch, "http://127.0.0.1:9")
    with pytest.raises(InputError, match="HF_ENDPOINT chooses another"):
        Model.from_pretrained("me/flows", cache_dir=tmp_path)


def test_the_card_has_front_matter(model: Model, hub: Hub) -> None:
    about = yaml.safe_load(model.card().split("---")[1])
    assert about["library_name"] == "netdiffus"
    assert {"synthetic-data", "causal"} <= set(about["tags"])
    assert "license" not in about
    model.push_to_hub("me/flows", license="cc-by-4.0", token="t")
    card = ModelCard(hub.files["me/flows"]["README.md"].decode())
    assert (card.data.license, card.data.library_name) == ("cc-by-4.0", "netdiffus")
    assert card.text.lstrip().startswith("# A netdiffus model")
