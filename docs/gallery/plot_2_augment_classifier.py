"""
Augment a classifier
====================

You have few labelled traces and want a better classifier. Do synthetic traces help? You need a
comparison with controls: repeating the real traces, or adding copies with noise, may help as much.
This example trains one random forest on each set, and tests all forests on held-out real traces.
"""

# %%
# Few traces to learn from
# ------------------------
# The lab traffic has 100 sessions of each of nine applications, seen as bytes down and up in bins
# of 0.2 s. We keep the first 12 bins, and ten sessions of each class. The test traces come from
# other network links: with ``by="group"`` each link is on one side only.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.ensemble import RandomForestClassifier

from netdiffus import Recipe, augment, concat, lab_traffic, sample, train
from netdiffus.evaluation import copy, jitter

traces = lab_traffic().truncate(12)
learn, holdout = traces.split(0.5, by="group", seed=0)
rng = np.random.default_rng(0)
rows = [rng.choice(np.flatnonzero(learn.labels == k), 10, replace=False) for k in range(9)]
few = learn[np.concatenate(rows)]
print(f"{len(few)} traces to learn from, {len(holdout)} to test with")

# %%
# Let validation traces decide
# ----------------------------
# ``augment`` returns the real traces and as many synthetic ones as help, or none. It trains three
# more models, each on three quarters of the traces, and validates on the last quarter. Synthetic
# traces help if a forest and a small convolutional network are more accurate with them than with
# as many repeated or jittered real traces. The note states the choice and the reason.
#
# The network has a width of 48 instead of 64 and is trained for 200 steps, which takes seconds. For
# your own work, leave out ``width`` and ``times`` and use ``Recipe(minutes=10)``.

model = train(few, recipe=Recipe(steps=200, batch_size=32), width=48)
augmented = augment(few, model, times=(1, 5), seed=0)
made = augmented.meta["is_synthetic"].to_pylist().count(True)
print(f"{len(few)} real traces and {made} synthetic ones")

# %%
# Was the choice right?
# ---------------------
# Test traces, which were not used for the choice, show it. ``repeated`` and ``jittered`` are the
# controls: five copies of each real trace, and five copies with noise. Five times as many synthetic
# traces are also tested, whatever was chosen.

sets = {
    "real": few,
    "real, repeated": concat([few, copy(few, 5 * len(few), seed=0)]),
    "real, jittered": concat([few, jitter(few, 5 * len(few), seed=0)]),
    "real and made": concat([few, sample(model, 5 * len(few), seed=0)]),
    "what augment chose": augmented,
}


def features(of):
    """One row of numbers per trace: all bins of both channels."""
    return of.values.reshape(len(of), -1)


accuracy = {}
for name, chosen in sets.items():
    forests = [RandomForestClassifier(100, random_state=seed) for seed in range(3)]
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
# Synthetic traces only help if their bar is above *both* controls by more than the error. If they
# gain no more than repetition, repeat your traces: it is cheaper. With only a few dozen validation
# traces, ``augment`` chooses synthetic traces only if the gain is large. After a training of
# seconds, as here, expect none.

error = [np.sqrt(p * (1 - p) / len(holdout)) for p in accuracy.values()]
fig, ax = plt.subplots(figsize=(7, 3))
colours = ["#555555", "#bbbbbb", "#bbbbbb", "#3b6fb6", "#3b6fb6"]
ax.barh(list(accuracy), list(accuracy.values()), xerr=error, color=colours)
ax.invert_yaxis()
ax.set_xlim(0, 1)
ax.set_xlabel("accuracy on real traces of other links")
fig.tight_layout()
