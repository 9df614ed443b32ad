"""
One dimension or two
====================

The paper turns a trace into an image and learns images. The default network learns tokens, in one
dimension. This example shows the image of a trace, that encoding and decoding lose nothing, the
effect of noise, and synthetic traces of both networks after the same few seconds of training.
"""

# %%
# A trace as an image
# -------------------

import warnings

import matplotlib.pyplot as plt
import numpy as np
import torch

from netdiffus import GasfCodec, Recipe, lab_traffic, plot_gasf, sample, train

traces = lab_traffic().truncate(16).select(["value"])
codec = GasfCodec(16).fit(traces)
one = traces.of_class("video_low")[:1]
images = codec.encode(one, dtype=torch.float64)

plot_gasf(one, codec=codec)

# %%
# Encode and decode
# -----------------
# The decoder finds the series whose image is nearest to the given one. For a true GASF this is the
# original series.

back = codec.decode(images)
print("largest difference in bytes:", np.abs(back.values - one.values).max())

# %%
# A network never generates a true GASF. Noise on the image changes some values; the residual is the
# distance of the image from the nearest GASF.

noise = torch.from_numpy(np.random.default_rng(0).normal(size=images.pixels.shape))
for deviation in (0.01, 0.05, 0.2):
    pixels = (images.pixels + deviation * noise).clamp(0, 1)
    noisy = codec.decode(type(images)(pixels, images.lengths, images.labels, images.classes))
    moved = np.abs(noisy.values - one.values).mean() / one.values.mean()
    residual = noisy.meta["residual"][0].as_py()
    print(f"noise {deviation:4.2f}: values move by {moved:.1%}, residual {residual:.3f}")

# %%
# Equal training time
# -------------------
# ``cpu_minutes`` counts processor time, so other programs on the machine do not matter. Eight
# seconds are far too few for both networks: see :doc:`/benchmarks` for figures of real trainings.

few = traces[::3]
recipe = Recipe(cpu_minutes=8 / 60, batch_size=32)
made = {"real": few}
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    for preset in ("default", "image"):
        model = train(few, recipe=recipe, preset=preset)
        made[preset] = sample(model, 90, seed=0)
        print(f"{preset}: {model.about['steps']} steps")

# %%
# Mean volume per bin of each class. The bands of a good model equal those of the real traces.

fig, axes = plt.subplots(1, 3, figsize=(10, 3), sharey=True)
for ax, (name, chosen) in zip(axes, made.items(), strict=True):
    for label in ("bulk", "video_low", "voip"):
        volumes = chosen.of_class(label).values[:, 0]
        ax.plot(np.arange(16) * 0.2, volumes.mean(0) + 1, label=label)
    ax.set_yscale("log")
    ax.set_title(name)
    ax.set_xlabel("seconds")
axes[0].set_ylabel("mean bytes per bin")
axes[2].legend()
fig.tight_layout()
