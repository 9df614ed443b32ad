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
# ``augment`` returns the real traces and as many made ones as help, which may be none. It trains
# three more models, each on three quarters of the traces, and looks at the last quarter: do a
# forest and a small convolutional network do better with made traces than with as many real ones
# repeated or jittered? The note says what was chosen and why.
#
# The network has a width of 48 instead of 64 and is trained for 200 steps, which takes seconds. For
# your own work leave ``width`` and ``times`` out and give ``Recipe(minutes=10)``.

model = train(few, recipe=Recipe(steps=200, batch_size=32), width=48)
augmented = augment(few, model, times=(1, 5), seed=0)
made = augmented.meta["is_synthetic"].to_pylist().count(True)
print(f"{len(few)} real traces and {made} made ones")

# %%
# Was it right?
# -------------
# The test traces, which had no part in the choice, can tell. ``repeated`` and ``jittered`` are the
# controls: five copies of each real trace, and five copies with noise. Another five times as many
# made traces are tried whatever the rule says.

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
# A bar is worth something where it stands above *both* controls by more than the error. If made
# traces gain no more than repetition does, repeat your traces: it is cheaper. The rule sees a few
# dozen validation traces, so it takes made traces only where they gain much; after a training of
# seconds, as here, expect none.

error = [np.sqrt(p * (1 - p) / len(holdout)) for p in accuracy.values()]
fig, ax = plt.subplots(figsize=(7, 3))
colours = ["#555555", "#bbbbbb", "#bbbbbb", "#3b6fb6", "#3b6fb6"]
ax.barh(list(accuracy), list(accuracy.values()), xerr=error, color=colours)
ax.invert_yaxis()
ax.set_xlim(0, 1)
ax.set_xlabel("accuracy on real traces of other links")
fig.tight_layout()
