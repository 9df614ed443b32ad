"""What an installed wheel must do: native kernels, captures, a training, traces, files."""

import tempfile
from pathlib import Path

import torch

import netdiffus
from netdiffus.ops import backends, gasf_image

assert backends()["cpp"] == "ok", backends()
image = gasf_image(torch.tensor([[0.0, 1.0]]), 2, backend="cpp")
torch.testing.assert_close(image, torch.tensor([[[0.0, 0.5], [0.5, 1.0]]]))

with tempfile.TemporaryDirectory() as scratch:
    folder = Path(scratch)
    traces = netdiffus.lab_traffic("packets")
    netdiffus.train(traces, folder / "model", recipe=netdiffus.Recipe(steps=3))
    made = netdiffus.sample(netdiffus.Model.load(folder / "model"), 8, seed=0)
    (folder / "captures" / "made").mkdir(parents=True)
    netdiffus.write_capture(made, folder / "captures" / "made" / "x.pcap", small="raise")
    again, _ = netdiffus.import_captures([folder / "captures"])
    assert again.counts() == {"made": 8}, again.counts()
assert len(netdiffus.sample(netdiffus.Model.load("lab"), 9, seed=0)) == 9  # it ships with the wheel
print("installed:", netdiffus.__version__, "from", Path(netdiffus.__file__).parent)
