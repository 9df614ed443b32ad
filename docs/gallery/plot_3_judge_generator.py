"""
Evaluate another generator
==========================

``evaluate`` needs traces, not a model, so it can evaluate any generator. The one here has a few
lines: for each class, a normal distribution of the logarithms of all bins, with their means and
covariances. So means and correlations of the bins are right. What can be wrong?
"""

# %%
# A simple generator
# ------------------

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
# ``Traces.from_arrays(x, y, channels)``. Channels and classes must equal those of the real traces.
#
# Look at it
# ----------
# The plot shows synthetic and real traces side by side. KS is the Kolmogorov-Smirnov distance: the
# largest difference of two distribution functions.

compare(holdout, made, names=("real", "synthetic"))

# %%
# Evaluate it
# -----------
# ``real`` are the training traces, ``holdout`` the held-out ones. With ``by``, errors are computed
# over links instead of sessions, because sessions of one link are alike. ``repeats=1`` saves time;
# leave it out for figures that you publish.

report = evaluate(learn, made, holdout=holdout, by="group", seed=0, repeats=1)
for title, figure in report.summary().items():
    print(f"{title}: {figure}")

# %%
# Every figure is computed for six sets: the synthetic traces, the training traces (the floor), and
# four baselines without a model. ``report.save_html("report.html")`` writes them all as one page.
#
# Look for the reason
# -------------------
# A classifier separates these traces from real ones. The picture shows why: real bins are often
# exactly 0, or near a few other values; a normal distribution also covers the values between.

fig, axes = plt.subplots(1, 2, figsize=(8, 3), sharey=True)
for ax, (title, chosen) in zip(axes, {"real": holdout, "synthetic": made}.items(), strict=True):
    for name in ("web_tls", "video_low", "ssh"):
        logs = np.log10(1 + chosen.of_class(name).points("value"))
        ax.hist(logs, bins=np.linspace(0, 6, 40), histtype="step", density=True, label=name)
    ax.set_title(title)
    ax.set_xlabel("log10(1 + bytes per bin)")
axes[0].legend()
fig.tight_layout()
