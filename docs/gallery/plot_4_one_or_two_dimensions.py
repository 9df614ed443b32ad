"""
One dimension or two
====================

The paper draws a trace as an image and learns images. The default network learns tokens, in one
dimension. This example shows what an image of a trace is, that nothing is lost on the way there and
back, what noise does to it, and what both ways make after the same few seconds of training.
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
# There and back
# --------------
# The decoder takes the series whose image is nearest to the one it is given. Of an image that is a
# true GASF that is the series it was drawn of.

back = codec.decode(images)
print("largest difference in bytes:", np.abs(back.values - one.values).max())

# %%
# A network never makes a true GASF. With noise on the image, some values move; the residual says
# how far the image is from a GASF.

noise = torch.from_numpy(np.random.default_rng(0).normal(size=images.pixels.shape))
for deviation in (0.01, 0.05, 0.2):
    pixels = (images.pixels + deviation * noise).clamp(0, 1)
    noisy = codec.decode(type(images)(pixels, images.lengths, images.labels, images.classes))
    moved = np.abs(noisy.values - one.values).mean() / one.values.mean()
    residual = noisy.meta["residual"][0].as_py()
    print(f"noise {deviation:4.2f}: values move by {moved:.1%}, residual {residual:.3f}")

# %%
# The same seconds for both
# -------------------------
# ``cpu_minutes`` counts processor time, so another program on the machine takes nothing away. Eight
# seconds are far too few for either: see :doc:`/benchmarks` for figures of real trainings.

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
# Mean volume per bin of each class; the bands of a good model are those of the real traces.

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
