"""
From your captures to a capture
===============================

This example reads captures, trains a model, samples synthetic traces and writes them as a capture.
To run anywhere, it first writes its own captures: 60 flows of each of three applications of the
bundled lab traffic, in one folder per class. Use your folders instead.
"""

# %%
# The folder of captures
# ----------------------
# The class of a flow is the name of the folder of its capture.

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from netdiffus import Recipe, import_captures, lab_traffic, sample, train, write_capture

folder = Path(tempfile.mkdtemp())
lab = lab_traffic("packets").truncate(24)
for name in ("voip", "dns", "web_tls"):
    (folder / name).mkdir()
    flows = lab.of_class(name)[:60]
    for part in range(3):
        write_capture(flows[part::3], folder / name / f"{part}.pcap", small="raise")
print(*sorted(str(path.relative_to(folder)) for path in folder.glob("*/*.pcap")), sep="\n")

# %%
# Import
# ------
# Each flow becomes a trace of its first 64 packets. The report states what was read, what was left
# out, and why.

traces, report = import_captures(folder)
print(traces.counts())
print([channel.title for channel in traces.channels])
print("meta-data:", ", ".join(traces.meta.column_names))

# %%
# Train and sample
# ----------------
# The network has a width of 48 instead of 64 and is trained for 400 steps, which takes seconds. It
# learns protocol and server port together with the class.

model = train(traces, recipe=Recipe(steps=400, batch_size=32), width=48)
made = sample(model, 60, seed=0)
print(made.meta.column_names)

# %%
# Look
# ----
# Each dot is a packet: its time, and its size with the sign of its direction.

fig, axes = plt.subplots(2, 3, figsize=(9, 4), sharex="col", sharey=True)
for column, name in enumerate(traces.classes):
    for row, (title, chosen) in enumerate({"real": traces, "synthetic": made}.items()):
        few = chosen.of_class(name)[:20]
        sizes, directions, times = (
            few.points(k) for k in ("packet_length", "direction", "timestamp")
        )
        axes[row, column].scatter(np.maximum(times, 1e-4), sizes * directions, s=4, alpha=0.5)
        axes[row, column].set_xscale("log")
        axes[row, column].set_title(f"{name}, {title}", fontsize=9)
for ax in axes[:, 0]:
    ax.set_ylabel("signed bytes")
for ax in axes[1]:
    ax.set_xlabel("seconds")
fig.tight_layout()

# %%
# Write a capture
# ---------------
# Each trace becomes one flow with headers. A CSV file beside the capture has the class of each
# flow. ``small="raise"`` enlarges packets that are too small for their headers.

write_capture(made, folder / "synthetic.pcap", small="raise")
again, report = import_captures(
    folder / "synthetic.pcap", label_from=folder / "synthetic.labels.csv"
)
print(again.counts())
