from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from small import packets, volumes

from netdiffus.codec import GasfCodec, TokenCodec
from netdiffus.diffusion import Diffusion
from netdiffus.errors import InputError
from netdiffus.model.model import Model
from netdiffus.networks.build import PRESETS as BUILT
from netdiffus.networks.build import default_codec
from netdiffus.sampling import sample
from netdiffus.traces.traces import Traces

PRESETS = ["causal", "image", "paper"]


def made(preset: str, traces: Traces | None = None, **more: Any) -> Model:
    codec = TokenCodec() if preset == "causal" else GasfCodec(8, border=int(preset == "image"))
    return Model.new(
        packets(30) if traces is None else traces, codec, preset=preset, width=8, **more
    )


@pytest.fixture(params=PRESETS)
def model(request: pytest.FixtureRequest) -> Model:
    return made(request.param)


@pytest.fixture
def folder(model: Model, tmp_path: Path) -> Path:
    model.save(tmp_path / "m")
    return tmp_path / "m"


class TestFolder:
    def test_holds_three_files_and_no_pickle(self, folder: Path) -> None:
        assert sorted(p.name for p in folder.iterdir()) == [
            "README.md",
            "config.json",
            "model.safetensors",
        ]

    def test_comes_back_the_same(self, model: Model, folder: Path) -> None:
        again = Model.load(folder)
        assert again.config() == model.config()
        for name, tensor in model.network.state_dict().items():
            assert torch.equal(again.network.state_dict()[name], tensor)
        steps = None if model.diffusion is None else 2
        first, second = (sample(one, 12, seed=1, steps=steps) for one in (model, again))
        assert first.equals(second)

    def test_columns_come_back_the_same(self, tmp_path: Path) -> None:
        lists = [[i % 3] * (2 + i % 4) for i in range(40)]
        noon = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)
        meta = {
            "protocol": ["tcp", "udp"] * 20,
            "server_port": [443] * 30 + [None] * 10,
            "begin": [noon + timedelta(seconds=37 * i % 1000) for i in range(40)],
            "loss": [0.1 * (i % 7) for i in range(40)],
            "more": [0.1 * (i % 7) + 0.01 * i for i in range(40)],
            "points": [2 + i % 4 for i in range(40)],
        }
        traces = Traces.from_lists({"x": lists}, ["a", "b"] * 20, meta)
        for preset in PRESETS:
            model = made(preset, traces, columns="all")
            model.save(tmp_path / preset)
            again = Model.load(tmp_path / preset)
            assert again.columns.settings() == model.columns.settings()
            assert "protocol, server" in (tmp_path / preset / "README.md").read_text()
            assert again.columns.chosen == tuple(meta)
            assert [one.type for one in again.columns.learned] == [
                traces.meta[name].type for name in again.columns.names
            ]
            np.testing.assert_array_equal(
                again.columns.encode(traces), model.columns.encode(traces)
            )

    def test_card_names_classes_and_limits(self, folder: Path) -> None:
        card = (folder / "README.md").read_text()
        assert "| video | 33.3% |" in card
        assert "packet_length [B] (size)" in card
        assert "made from at least 5 training" in card
        assert "Differential privacy: none." in card
        assert "Limits" in card

    def test_existing_is_refused(self, model: Model, folder: Path) -> None:
        with pytest.raises(FileExistsError, match="--force"):
            model.save(folder)
        model.save(folder, force=True)

    def test_foreign_folders_are_named(self, tmp_path: Path, folder: Path) -> None:
        with pytest.raises(
            InputError, match=r"nowhere: not a netdiffus model folder, it has no config\.json"
        ):
            Model.load(tmp_path / "nowhere")
        (folder / "config.json").write_text('{"model_type": "bert"}')
        with pytest.raises(InputError, match="not the config of a netdiffus model"):
            Model.load(folder)
        for text in ("{", "[" * 10_000, "\udcff"):
            (folder / "config.json").write_bytes(text.encode("utf-8", "surrogateescape"))
            with pytest.raises(InputError, match="not readable JSON"):
                Model.load(folder)

    @pytest.mark.parametrize("keep", [0, 100, -1])
    def test_truncated_weights_are_named(self, keep: int, folder: Path) -> None:
        whole = (folder / "model.safetensors").read_bytes()
        (folder / "model.safetensors").write_bytes(whole[:keep])
        with pytest.raises(InputError, match=r"model\.safetensors: truncated or not"):
            Model.load(folder)
        (folder / "model.safetensors").unlink()
        with pytest.raises(InputError, match=r"it has no model\.safetensors"):
            Model.load(folder)

    def test_a_folder_of_format_5_is_called_as_private_as_the_traces(self, folder: Path) -> None:
        changed(folder, lambda config: config.update(format=5, netdiffus="0.0.9"))
        with pytest.raises(
            InputError,
            match=r"config\.json: format 5 of netdiffus 0\.0\.9 holds counts that give its "
            "training traces away, and is no longer read; train again for format 6, and keep this "
            "folder as private as the traces",
        ):
            Model.load(folder)

    @pytest.mark.parametrize("found", [7, 9, "six", None])
    def test_a_folder_of_a_later_format_asks_for_an_upgrade(self, folder: Path, found: Any) -> None:
        changed(folder, lambda config: config.update(format=found, netdiffus="9.1"))
        with pytest.raises(InputError, match=f"format {found} of netdiffus 9.1; .*upgrade"):
            Model.load(folder)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda c: c.update(colour=1), "unknown setting colour; known: about, classes"),
            (lambda c: c.pop("shares"), "missing setting shares"),
            (lambda c: c.update(preset="large"), "preset must be one of"),
            (lambda c: c["network"].update(depth=3), "json: network: unknown setting depth"),
            (lambda c: c["network"].update(width=16), "do not fit"),
            (lambda c: c["network"].pop("classes"), "json: network: missing setting classes"),
            (lambda c: c["codec"].pop("channels"), "json: codec: missing setting channels"),
            (
                lambda c: c["codec"]["channels"].append({"name": "x", "colour": 1}),
                r"json: codec\.channels\[3\]: unknown setting colour",
            ),
        ],
    )
    def test_settings_that_do_not_fit_are_named(
        self, change: Callable[[dict[str, Any]], Any], message: str, folder: Path
    ) -> None:
        changed(folder, change)
        with pytest.raises(InputError, match=message):
            Model.load(folder)

    def test_weights_that_do_not_fit_are_named(self, folder: Path) -> None:
        path = folder / "model.safetensors"
        whole = load_file(path)
        name = "network.conditions.label.weight"
        with safe_open(path, framework="pt") as file:
            about = file.metadata()
        for other, message in (
            ({k: v for k, v in whole.items() if k != name}, f"do not fit: tensor '{name}' must be"),
            ({**whole, name: whole[name][:1]}, f"do not fit: tensor '{name}' must be"),
            ({**whole, name: whole[name].half()}, f"do not fit: tensor '{name}' must be .*F16"),
            ({**whole, "network.extra": torch.zeros(1)}, "'network.extra' is unknown"),
            ({**whole, name: whole[name] * float("nan")}, f"{name} holds values that are not fin"),
            ({**whole, name: whole[name] * float("inf")}, f"{name} holds values that are not fin"),
        ):
            save_file({k: v.contiguous() for k, v in other.items()}, path, metadata=about)
            with pytest.raises(InputError, match=message) as caught:
                Model.load(folder)
            assert str(path) in str(caught.value)

    def test_weights_of_another_save_are_refused(self, folder: Path) -> None:
        """Even those of the same shape, which would load."""
        path = folder / "model.safetensors"
        with safe_open(path, framework="pt") as file:
            about = file.metadata()
        save_file(load_file(path), path, metadata={**about, "id": "0" * 32})
        with pytest.raises(InputError, match=r"config\.json and model\.safetensors are not of one"):
            Model.load(folder)

    def test_a_folder_of_before_there_were_identities_is_read(self, folder: Path) -> None:
        path = folder / "model.safetensors"
        save_file(load_file(path), path, metadata={"format": "6"})
        with pytest.raises(InputError, match="are not of one save"):
            Model.load(folder)
        changed(folder, lambda config: config.pop("id"))
        assert len(sample(Model.load(folder), 2, seed=0)) == 2

    def test_the_same_model_is_saved_as_the_same_bytes(self, model: Model, tmp_path: Path) -> None:
        for name in ("a", "b"):
            model.save(tmp_path / name)
        files = [{p.name: p.read_bytes() for p in (tmp_path / n).iterdir()} for n in ("a", "b")]
        assert files[0] == files[1]

    def test_all_may_read_the_files_who_may_by_the_umask(self, folder: Path) -> None:
        modes = {path.stat().st_mode & 0o777 for path in folder.iterdir()}
        before = os.umask(0o022)
        os.umask(before)
        assert modes == {0o666 & ~before}


def changed(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    config = json.loads((folder / "config.json").read_text())
    change(config)
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize("preset", PRESETS)
def test_same_seed_same_weights(preset: str) -> None:
    states = [made(preset, volumes(), seed=s).network.state_dict() for s in (1, 1, 2)]
    name = "conditions.label.weight"
    assert torch.equal(states[0][name], states[1][name])
    assert not torch.equal(states[0][name], states[2][name])


def test_initial_weights_leave_random_numbers_of_others_alone() -> None:
    torch.manual_seed(4)
    expected = torch.rand(3)
    torch.manual_seed(4)
    made("causal")
    assert torch.equal(torch.rand(3), expected)


def test_a_model_says_what_it_is_on_a_screen(model: Model) -> None:
    lines = repr(model).splitlines()
    assert len(lines) == 4
    assert f"preset {model.preset}" in lines[0]
    assert lines[0].endswith("untrained")
    assert "packet_length [B]" in lines[1]
    assert lines[3] == "  privacy: none"


@pytest.mark.parametrize("preset", BUILT)
def test_the_card_says_what_the_network_is(preset: str) -> None:
    words = {"series": "Gaussian diffusion", "masked": "absorbing", "image": "U-Net on patches"}
    words |= {"paper": "U-Net of the NetDiffus paper"}
    model = Model.new(packets(30), default_codec(preset, 8), preset=preset, width=8)
    assert words.get(preset, "autoregressive transformer") in model.card()


def test_the_default_is_causal() -> None:
    kinds = [
        type(Model.new(volumes(), TokenCodec(), preset=p).network) for p in ("default", "causal")
    ]
    assert kinds[0] is kinds[1]


def test_shares_of_small_classes_are_not_told() -> None:
    """A class of fewer than 5 traces counts as if it had 5."""
    lists = [[1, 2]] * 26
    traces = Traces.from_lists({"x": lists}, ["a"] * 20 + ["b"] * 5 + ["c"])
    np.testing.assert_allclose(made("causal", traces).shares, [20 / 30, 5 / 30, 5 / 30])


@pytest.mark.parametrize(
    ("preset", "codec", "diffusion", "message"),
    [
        ("default", GasfCodec(8), None, r"preset 'default' needs codec=TokenCodec\(…\), got Gasf"),
        ("paper", TokenCodec(), None, r"preset 'paper' needs codec=GasfCodec\(…\), got Token"),
        ("causal", TokenCodec(), Diffusion(), "preset 'causal' has no diffusion; leave diffusion"),
        (
            "large",
            TokenCodec(),
            None,
            r"preset must be one of default, causal, series, masked, image, paper, got 'large'",
        ),
        ("paper", GasfCodec(None), None, "give it a size"),
    ],
)
def test_parts_that_do_not_go_together(
    preset: str, codec: TokenCodec | GasfCodec, diffusion: Diffusion | None, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        Model.new(volumes(), codec, diffusion, preset=preset, width=8)


@pytest.mark.parametrize(
    ("preset", "width", "message"),
    [
        ("causal", 0, "width must be at least 1"),
        ("causal", 6, "width must be a multiple of 4, got 6"),
        ("image", 12, "width must be a multiple of 8, got 12"),
    ],
)
def test_widths_that_a_network_cannot_have(preset: str, width: int, message: str) -> None:
    codec = TokenCodec() if preset == "causal" else GasfCodec(8)
    with pytest.raises(InputError, match=message):
        Model.new(volumes(), codec, preset=preset, width=width)
