"""
Judge another generator
=======================

``evaluate`` needs traces, not a model: it judges what any generator made. Here that is a simple one
of a few lines: for each class a normal distribution of the logarithms of all bins, with their means
and covariances. Each bin has the right average, and bins move together as they should. What can be
wrong?
"""

# %%
# A generator that is not ours
# ----------------------------

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np

from netdiffus import compare, evaluate, lab_traffic

traces = lab_traffic().truncate(12)[::2]
learn, holdout = traces.split(0.5, by="group", seed=0)


def normal_logarithms(real, seed):
    """As many traces as `real`, of a normal distribution of log(1 + bytes) for each class."""
    rng = np.random.default_rng(seed)
    values = np.empty_like(real.values)
    for k in range(len(real.classes)):
        mine = real.labels == k
        logs = np.log1p(real.values[mine].reshape(mine.sum(), -1))
        made = rng.multivariate_normal(logs.mean(0), np.cov(logs.T), size=mine.sum())
        values[mine] = np.rint(np.expm1(np.maximum(made, 0))).reshape(values[mine].shape)
    return replace(real, values=values)


made = normal_logarithms(learn, seed=0)

# %%
# If your generator writes a file, ``Traces.load`` reads it; if it gives arrays, use
# ``Traces.from_arrays(x, y, channels)``. Channels and classes must be those of the real traces.
#
# Look at it
# ----------
# Side by side with real traces. KS is the largest difference of two distribution functions.

compare(holdout, made, names=("real", "synthetic"))

# %%
# Judge it
# --------
# ``real`` is what the generator learned from, ``holdout`` what it has not seen. With ``by`` errors
# count links, not sessions, because sessions of one link are alike. ``repeats=1`` saves time; leave
# it out for figures that you publish.

report = evaluate(learn, made, holdout=holdout, by="group", seed=0, repeats=1)
for title, figure in report.summary().items():
    print(f"{title}: {figure}")

# %%
# Every figure stands for six sets: the synthetic traces, the real training traces (the floor), and
# four baselines that learn nothing. ``report.save_html("report.html")`` writes all of it as one
# page.
#
# Look for the reason
# -------------------
# A classifier tells these traces from real ones. The picture says why: real bins are often exactly
# 0, or lie near a few other values; a normal distribution spreads over all values between.

fig, axes = plt.subplots(1, 2, figsize=(8, 3), sharey=True)
for ax, (title, chosen) in zip(axes, {"real": holdout, "synthetic": made}.items(), strict=True):
    for name in ("web_tls", "video_low", "ssh"):
        logs = np.log10(1 + chosen.of_class(name).points("value"))
        ax.hist(logs, bins=np.linspace(0, 6, 40), histtype="step", density=True, label=name)
    ax.set_title(title)
    ax.set_xlabel("log10(1 + bytes per bin)")
axes[0].legend()
fig.tight_layout()
