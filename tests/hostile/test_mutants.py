"""A model folder from a stranger is refused in one line, or works; it takes no machine over."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command import run
from mutants import places
from safetensors.torch import save_file
from small import packets

from netdiffus.attacks.extraction import numbers_in
from netdiffus.codec import GasfCodec, TokenCodec
from netdiffus.completion import complete
from netdiffus.diffusion import Diffusion
from netdiffus.errors import InputError
from netdiffus.model.checks import BOUNDS
from netdiffus.model.files import refuse_model
from netdiffus.model.model import Model
from netdiffus.networks.build import IMAGES
from netdiffus.networks.causal import CausalConfig
from netdiffus.networks.image import ImageConfig
from netdiffus.sampling import sample
from netdiffus.traces.traces import Traces

PRESETS = ("causal", "series", "masked", "image", "paper")
MUTANTS = 120  # of a seed; more by NETDIFFUS_FUZZ_S, the seconds that it may take
MB = 2**20
FIRST = np.arange(8) < np.ones((6, 1))  # of six traces the first points


def with_columns(n: int = 60) -> Traces:
    """Traces of sizes and gaps with protocol and port."""
    rng = np.random.default_rng(0)
    sizes = [rng.integers(0, 200, k).tolist() for k in rng.integers(2, 9, n)]
    meta = {
        "protocol": ["tcp", "udp"] * (n // 2),
        "server_port": [443] * 30 + [None] * (n - 30),
        "loss": rng.random(n).tolist(),
        "points": list(map(len, sizes)),
    }
    gaps = [rng.exponential(1, len(one)).tolist() for one in sizes]
    return Traces.from_lists(
        {"packet_length": sizes, "iat": gaps}, ["a", "b", "c"] * (n // 3), meta
    )


@pytest.fixture(scope="module")
def goods(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of untrained models of every kind, with every scale."""
    folder = tmp_path_factory.mktemp("goods")
    for preset in PRESETS:
        codec: TokenCodec | GasfCodec = TokenCodec()
        if preset in IMAGES:
            scales = {"packet_length": "log", "iat": "minmax"} if preset == "paper" else {}
            codec = GasfCodec(8, border=int(preset == "image"), scales=scales)
        model = Model.new(with_columns(), codec, preset=preset, width=8, columns="all")
        model.save(folder / preset)
    Model.new(packets(60), TokenCodec(), width=8).save(folder / "packets")
    return folder


def test_mutants_are_refused_or_work(goods: Path) -> None:
    seconds = float(os.environ.get("NETDIFFUS_FUZZ_S", "0"))
    seed = int(time.time()) if seconds else 0
    tests = Path(__file__).parents[1]
    paths = [str(tests.parent), str(tests), os.environ.get("PYTHONPATH", "")]
    script = Path(__file__).with_name("mutants.py")
    done = subprocess.run(
        [sys.executable, str(script), str(goods), str(seed), str(MUTANTS), str(seconds)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    *faults, told = (json.loads(line) for line in done.stdout.splitlines())
    assert faults == [], f"seed {seed}"
    assert told["mutants"] >= MUTANTS
    # Both happen: mutants that are all refused, or all work, would test nothing.
    assert 0.2 < told["refused"] / told["mutants"] < 0.99


def settings(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "config.json").read_text())
    return found


PORTS = {"values": [], "rare": ["0..1023"]}


def column(config: dict[str, Any], j: int) -> dict[str, Any]:
    found: dict[str, Any] = config["columns"]["learned"][j]
    return found


HUGE: list[tuple[str, Callable[[dict[str, Any]], Any], str]] = [
    ("causal", lambda c: c["network"].update(width=8000), "network.width must lie in 1..4,096"),
    ("causal", lambda c: c["network"].update(width=4096), "'network.start' must be .4096,"),
    ("causal", lambda c: c["network"].update(layers=10**9), "network.layers must lie in 1..64"),
    ("causal", lambda c: c["network"].update(heads=10**9), "network.heads must lie in"),
    ("causal", lambda c: c["network"].update(expansion=10**9), "network.expansion must lie in"),
    ("causal", lambda c: c["network"].update(points=10**9), "network.points must lie in"),
    ("causal", lambda c: c["network"].update(sizes=[10**9]), "network.sizes must lie in"),
    ("causal", lambda c: c["network"].update(sizes=[2] * 10**6), "must have 1000000 values"),
    ("causal", lambda c: c["network"].update(classes=10**9), "network.classes must lie in"),
    ("causal", lambda c: c["network"].update(columns=[10**9]), "network.columns must lie in"),
    ("causal", lambda c: c["codec"].update(length=10**9), "codec.length must lie in"),
    ("causal", lambda c: c["codec"].update(bins_per_point=10**9), "codec.bins_per_point must lie"),
    ("image", lambda c: c["network"].update(width=8000), "network.width must lie in"),
    ("image", lambda c: c["network"].update(size=10**9), "network.size must lie in"),
    ("image", lambda c: c["network"].update(channels=10**9), "network.channels must lie in"),
    ("image", lambda c: c["codec"].update(size=10**9), "codec.size must lie in"),
    ("image", lambda c: c["codec"].update(border=10**9), "codec.border must lie in"),
    (
        "paper",
        lambda c: c["diffusion"].update(num_timesteps=10**9),
        "diffusion.num_timesteps must lie in",
    ),
    ("paper", lambda c: c["diffusion"].update(shift=1e300), "finite number|diffusion.shift must"),
    ("causal", lambda c: c.update(id="../../etc/passwd"), "id must be 32 hexadecimal digits"),
    ("causal", lambda c: c.update(classes=["a", "a", "b"]), "classes must be a list of different"),
    ("causal", lambda c: c.update(shares=[1, float("nan"), 0]), "shares must be"),
    ("causal", lambda c: c["columns"].update(trace_id=[1]), "columns: unknown setting trace_id"),
    ("causal", lambda c: column(c, 1).update(values=[10**30]), r"columns.learned\[1\]: "),
    ("causal", lambda c: column(c, 1).update(values=[1, 2]), "must be a list of 1 values"),
    ("causal", lambda c: column(c, 1).update(rare=["80..90"]), r"rare must be of 0\.\.1023"),
    ("causal", lambda c: column(c, 1).update(PORTS, kind="int8"), "int8 do not hold such ports"),
    ("causal", lambda c: column(c, 0).update(PORTS), "only server_port has ranges"),
    ("causal", lambda c: column(c, 2).update(rare=["0..1023"]), "only server_port has ranges"),
    ("causal", lambda c: column(c, 2).update(kind="string"), "kind must be a type of numbers"),
    ("causal", lambda c: column(c, 2).update(kind="nothing"), r"columns.learned\[2\]: "),
    ("causal", lambda c: column(c, 2).update(name="protocol"), "must have different names"),
    ("causal", lambda c: c["columns"]["learned"].pop(), "network.columns must have 2 values"),
    ("causal", lambda c: c["columns"].update(orders=[["loss", "x"]]), "orders must be pairs"),
    ("causal", lambda c: c["columns"]["totals"].update(points=["sum", "int64"]), "must be a total"),
]


@pytest.mark.parametrize(("preset", "change", "message"), HUGE)
def test_numbers_out_of_bounds_are_named(
    preset: str, change: Callable[..., Any], message: str, goods: Path, tmp_path: Path
) -> None:
    folder = copied(goods / preset, tmp_path)
    config = settings(folder)
    change(config)
    (folder / "config.json").write_text(json.dumps(config))
    refused(folder, message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000 + "]" * 100_000, "not readable JSON"),
        ('{"a":' * 100 + "1" + "}" * 100, "more than 8 brackets inside each other"),
        ('{"format": ' + "9" * 100_000 + "}", "not readable JSON"),
        ('{"format": 6, "netdiffus": "' + "x" * 10**7 + '"}', "longer than 8,388,608 bytes"),
    ],
)
def test_endless_text_is_refused(text: str, message: str, goods: Path, tmp_path: Path) -> None:
    folder = copied(goods / "causal", tmp_path)
    (folder / "config.json").write_text(text)
    refused(folder, message)


def test_a_log_of_endless_text_is_no_log(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text("[" * 100_000)
    with pytest.raises(FileExistsError, match=r"log\.jsonl exists"):
        refuse_model(tmp_path, False)
    with pytest.raises(InputError, match=r"log\.jsonl: not readable"):
        numbers_in(tmp_path)


def test_a_header_without_end_is_refused(goods: Path, tmp_path: Path) -> None:
    folder = copied(goods / "causal", tmp_path)
    path = folder / "model.safetensors"
    path.write_bytes((2**26).to_bytes(8, "little") + bytes(100))
    with path.open("r+b") as file:
        file.truncate(2**27)  # a hole, which takes no room on the disk
    refused(folder, r"model\.safetensors: truncated or not a safetensors file: its header has")


def refused(folder: Path, message: str) -> None:
    """In one line that names the file, in under 2 s of processor time and 500 MB."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.process_time()
    with pytest.raises(InputError, match=message) as caught:
        Model.load(folder)
    assert time.process_time() - began < 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500 * MB / 1024
    assert str(folder) in str(caught.value)
    assert len(str(caught.value)) < 1000
    assert "\n" not in str(caught.value)


def copied(good: Path, place: Path) -> Path:
    folder = place / "m"
    folder.mkdir()
    for path in good.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


def test_every_number_of_a_config_has_a_bound(goods: Path) -> None:
    """Those of `about` are shown and never computed with, but for a resumed run."""
    for preset in PRESETS:
        for way in places({k: v for k, v in settings(goods / preset).items() if k != "about"}):
            value: Any = settings(goods / preset)
            for key in way:
                value = value[key]
            name = ".".join(key for key in way if isinstance(key, str))
            is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if is_number and way[0] in ("network", "diffusion", "codec"):
                assert name in BOUNDS, name
    for where, kind in (
        ("network", CausalConfig),
        ("network", ImageConfig),
        ("diffusion", Diffusion),
    ):
        for name, field in kind.__dataclass_fields__.items():
            if field.type in ("int", "float", "tuple[int, ...]"):
                assert f"{where}.{name}" in BOUNDS, name


@pytest.mark.parametrize(
    ("codec", "preset", "message"),
    [
        (TokenCodec(10**6), "causal", "codec.length must lie in 1..131,072"),
        (GasfCodec(100_000), "paper", "codec.size must lie in 1..2,048"),
        (GasfCodec(8, border=5000), "image", "codec.border must lie in"),
    ],
)
def test_a_model_that_could_not_be_read_is_not_trained(
    codec: TokenCodec | GasfCodec, preset: str, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        Model.new(packets(30), codec, preset=preset, width=8)


def test_on_the_command_line(goods: Path, tmp_path: Path) -> None:
    folder = copied(goods / "causal", tmp_path)
    config = settings(folder)
    config["network"]["x\x1b[31m\n"] = 1
    (folder / "config.json").write_text(json.dumps(config))
    done = run("sample", folder, "-n", 1, "-o", tmp_path / "s.csv")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"error: {folder / 'config.json'}: network: unknown setting x\\x1b[")
    assert len(done.err.splitlines()) == 1
    assert not (tmp_path / "s.csv").exists()


@pytest.mark.parametrize(
    ("preset", "use"),
    [
        ("causal", lambda model, traces: sample(model, 2, seed=0)),
        ("masked", lambda model, traces: sample(model, 2, seed=0)),
        ("series", lambda model, traces: sample(model, 2, seed=0)),
        ("image", lambda model, traces: sample(model, 2, seed=0)),
        ("causal", lambda model, traces: complete(model, traces, seed=0)),
        ("masked", lambda model, traces: complete(model, traces, known=FIRST, seed=0)),
        ("causal", lambda model, traces: model.log_prob(traces)),
        ("causal", lambda model, traces: model.predict(traces)),
    ],
)
def test_weights_whose_sums_overflow(
    preset: str, use: Callable[[Model, Traces], Any], goods: Path
) -> None:
    """They are finite, so a folder with them is read."""
    model = Model.load(goods / preset)
    for parameter in model.network.parameters():
        torch.nn.init.constant_(parameter, 1e20)
    with pytest.raises(InputError, match=r"the model (makes|gives) .*numbers; train it again"):
        use(model, with_columns()[:6])


def test_a_card_shows_names_as_they_are(tmp_path: Path) -> None:
    """No HTML, image, link, code or row of a table comes of a label."""
    label = "<img src=x onerror=alert(1)> ![a](http://x) `b` | c\n# d"
    traces = Traces.from_lists({"x": [[1, 2]] * 20}, [label, "b"] * 10)
    card = Model.new(traces, TokenCodec(), width=8).card()
    (row,) = [line for line in card.splitlines() if "onerror" in line]
    assert row == (
        r"| &lt;img src=x onerror=alert(1)&gt; \!\[a\](http://x) \`b\` \| c\\n\# d | 50.0% |"
    )


def test_tensors_of_something_else(tmp_path: Path) -> None:
    """A file of tensors alone is refused by its names, before they are read."""
    folder = tmp_path / "m"
    Model.new(packets(30), TokenCodec(), width=8).save(folder)
    one = settings(folder)["id"]
    save_file({"x": torch.zeros(10**6)}, folder / "model.safetensors", metadata={"id": one})
    refused(folder, "do not fit: tensor 'codec.vocabulary.0' must be")
