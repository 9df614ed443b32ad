from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from small import packets, volumes

from netdiffus.codec import GasfCodec
from netdiffus.diffusion import Diffusion
from netdiffus.errors import InputError
from netdiffus.model import Model
from netdiffus.unet import UNetConfig


@pytest.fixture
def model() -> Model:
    return Model.new(packets(), GasfCodec(8, border=1), width=16)


@pytest.fixture
def folder(model: Model, tmp_path: Path) -> Path:
    model.save(tmp_path / "m")
    return tmp_path / "m"


class TestUNet:
    @pytest.mark.parametrize("preset", ["default", "paper"])
    @pytest.mark.parametrize("size", [1, 7, 16, 30])
    def test_any_size_channels_and_classes(self, preset: str, size: int) -> None:
        border = int(preset == "default")
        config = UNetConfig(
            preset,
            channels=3,
            size=size + border,
            border=border,
            classes=5,
            width=8,
            levels=(6, 2, 4),
        )
        xt = torch.randn(2, 3, config.size, config.size)
        out = config.build()(
            xt, torch.tensor([0, 999]), torch.tensor([0, 4]), torch.tensor([0.1, 1.0])
        )
        assert out.shape == xt.shape
        assert torch.isfinite(out).all()

    def test_step_class_and_length_matter(self) -> None:
        torch.manual_seed(0)
        net = UNetConfig("paper", size=16, classes=3, width=8).build()
        for parameter in net.parameters():
            torch.nn.init.normal_(parameter, std=0.2)  # some start at zero
        xt = torch.randn(1, 1, 16, 16)
        base = (torch.tensor([500]), torch.tensor([1]), torch.tensor([0.5]))
        out = net(xt, *base)
        for k, other in enumerate((torch.tensor([100]), torch.tensor([2]), torch.tensor([0.9]))):
            changed = net(xt, *(other if i == k else one for i, one in enumerate(base)))
            assert (changed - out).abs().max() > 1e-3

    def test_paper_preset_is_the_words(self) -> None:
        net = UNetConfig("paper", size=16, width=8).build()
        assert len(net.levels) == 5
        kinds = {type(module).__name__ for module in net.modules()}
        assert "Conv2d" in kinds
        assert "GroupNorm" not in kinds
        sizes = []
        for level in net.levels:
            level.register_forward_hook(lambda _m, _i, out: sizes.append(out.shape[-1]))
        net(torch.randn(1, 1, 16, 16), torch.tensor([0]), torch.tensor([0]), torch.tensor([1.0]))
        assert sizes == [16, 8, 4, 8, 16]

    def test_bad_settings(self) -> None:
        with pytest.raises(InputError, match="preset must be one of default, paper"):
            UNetConfig("large")
        with pytest.raises(InputError, match="width must be at least 1"):
            UNetConfig(width=0)
        with pytest.raises(InputError, match="give the codec border=1 at least"):
            UNetConfig()
        with pytest.raises(InputError, match=r"levels must have .* each of 2 channels, got \(3,\)"):
            UNetConfig(border=1, channels=2, levels=(3,)).build()


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
        for name, tensor in model.unet.state_dict().items():
            assert torch.equal(again.unet.state_dict()[name], tensor)
        traces = packets()
        assert torch.equal(again.codec.encode(traces).pixels, model.codec.encode(traces).pixels)

    def test_card_names_classes_and_limits(self, folder: Path) -> None:
        card = (folder / "README.md").read_text()
        assert "| video | 4 |" in card
        assert "packet_length [B] (size)" in card
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
        (folder / "config.json").write_text("{")
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

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"format": 9, "netdiffus": "9.1"}, "format 9 of netdiffus 9.1; .*upgrade"),
            ({"colour": 1}, "unknown setting colour; known: about, classes"),
            ({"unet": {"depth": 3}}, r"unknown setting unet\.depth"),
            ({"codec": {"flip": True}}, r"unknown setting codec\.flip"),
            ({"diffusion": {"eta": 1}}, r"unknown setting diffusion\.eta"),
            ({"unet": {"width": 32}}, "do not fit"),
        ],
    )
    def test_unknown_settings_are_named(self, change: dict, message: str, folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        for key, value in change.items():
            config[key] = {**config[key], **value} if isinstance(value, dict) else value
        (folder / "config.json").write_text(json.dumps(config))
        with pytest.raises(InputError, match=message):
            Model.load(folder)

    def test_missing_setting_is_named(self, folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        del config["codec"]["gamma"]
        (folder / "config.json").write_text(json.dumps(config))
        with pytest.raises(InputError, match=r"missing setting codec\.gamma"):
            Model.load(folder)


def test_same_seed_same_weights() -> None:
    states = [
        Model.new(volumes(), GasfCodec(8, border=1), width=8, seed=s).unet.state_dict()
        for s in (1, 1, 2)
    ]
    name = "points.weight"
    assert torch.equal(states[0][name], states[1][name])
    assert not torch.equal(states[0][name], states[2][name])


@pytest.mark.parametrize(
    ("preset", "codec", "diffusion", "message"),
    [
        (
            "default",
            GasfCodec(4, length=9, resize="area"),
            None,
            "resize='area' needs preset='paper'",
        ),
        ("default", GasfCodec(8), None, "give the codec border=1"),
        (
            "default",
            GasfCodec(8, border=1),
            Diffusion(),
            "needs prediction='x0' of the diffusion, got 'v'",
        ),
        (
            "paper",
            GasfCodec(8),
            Diffusion(prediction="x0", loss="levels"),
            "needs preset='default'",
        ),
    ],
)
def test_parts_that_do_not_go_together(
    preset: str, codec: GasfCodec, diffusion: Diffusion | None, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        Model.new(volumes(), codec, diffusion, preset=preset, width=8)
