"""
Augment a classifier
====================

You have few labelled traces and want a better classifier. Do synthetic traces help? Only a
comparison with controls can tell: a classifier may gain as much from the same real traces repeated,
or from copies with noise. This example trains one random forest on each, and tests all of them on
real traces that neither the forests nor the model have seen.
"""

# %%
# Few traces to learn from
# ------------------------
# The lab traffic has 100 sessions of each of nine applications, seen as bytes down and up in bins
# of 0.2 s. We keep the first 12 bins, and ten sessions of each class. The test traces come from
# other network links: with ``by="group"`` no link is on both sides.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.ensemble import RandomForestClassifier

from netdiffus import Recipe, concat, lab_traffic, sample, train
from netdiffus.evaluation import copy, jitter

traces = lab_traffic().truncate(12)
learn, holdout = traces.split(0.5, by="group", seed=0)
rng = np.random.default_rng(0)
rows = [rng.choice(np.flatnonzero(learn.labels == k), 10, replace=False) for k in range(9)]
few = learn[np.concatenate(rows)]
print(f"{len(few)} traces to learn from, {len(holdout)} to test with")

# %%
# Learn them, and make five times as many
# ---------------------------------------
# The network has a width of 48 instead of 64 and is trained for 600 steps, which takes seconds. For
# your own work leave ``width`` out and give ``Recipe(minutes=10)``.

model = train(few, recipe=Recipe(steps=600, batch_size=32), width=48)
made = sample(model, 5 * len(few), seed=0)

# %%
# Train a forest on each set
# --------------------------
# ``repeated`` and ``jittered`` are the controls: five copies of each real trace, and five copies
# with noise. The standard error is that of an accuracy over the test traces.

sets = {
    "real": few,
    "real, repeated": copy(few, 5 * len(few), seed=0),
    "real, jittered": jitter(few, 5 * len(few), seed=0),
    "synthetic": made,
    "real and synthetic": concat([few, made]),
}


def features(of):
    """One row of numbers per trace: all bins of both channels."""
    return of.values.reshape(len(of), -1)


accuracy = {}
for name, chosen in sets.items():
    forests = [RandomForestClassifier(200, random_state=seed) for seed in range(3)]
    scores = [
        forest.fit(features(chosen), chosen.label_names).score(
            features(holdout), holdout.label_names
        )
        for forest in forests
    ]
    accuracy[name] = np.mean(scores)
    print(f"{name:20s} {accuracy[name]:.1%}")

# %%
# Read the result
# ---------------
# A bar is worth something where it stands above *both* controls by more than the error. If
# synthetic traces gain no more than repetition does, repeat your traces: it is cheaper. After a
# training of seconds, as here, expect no more.

error = [np.sqrt(p * (1 - p) / len(holdout)) for p in accuracy.values()]
fig, ax = plt.subplots(figsize=(7, 3))
colours = ["#555555", "#bbbbbb", "#bbbbbb", "#3b6fb6", "#3b6fb6"]
ax.barh(list(accuracy), list(accuracy.values()), xerr=error, color=colours)
ax.invert_yaxis()
ax.set_xlim(0, 1)
ax.set_xlabel("accuracy on real traces of other links")
fig.tight_layout()
