"""Print the figures of the data card from the two tables: `python summary.py FOLDER`.

Needs scikit-learn: it also says how well a random forest tells the classes apart.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import confusion_matrix
from sklearn.model_selection import GroupKFold, StratifiedKFold, cross_val_predict


def main() -> None:
    """Print counts, statistics, accuracies and the confusion matrix."""
    folder = Path(sys.argv[1])
    volumes = pq.read_table(folder / "lab_volumes.parquet").to_pydict()
    packets = pq.read_table(folder / "lab_packets.parquet").to_pydict()
    labels, groups = np.array(volumes["label"]), np.array(volumes["group"])
    down, up = np.array(volumes["value"]), np.array(volumes["value_up"])
    print_classes(labels, down, up, packets)
    packet_features = [
        first_packets(*row)
        for row in zip(
            packets["packet_length"], packets["direction"], packets["timestamp"], strict=True
        )
    ]
    for name, features in (
        ("log1p of 2 x 64 bins", np.log1p(np.hstack([down, up]))),
        ("64 bins down", np.log1p(down)),
        ("first 64 packets: signed length, log gap", np.array(packet_features)),
    ):
        print(f"\n{name}")
        print_accuracy(features, labels, groups)


def print_classes(
    labels: NDArray[Any], down: NDArray[Any], up: NDArray[Any], packets: dict[str, list[Any]]
) -> None:
    """One row a class."""
    kept = np.array([len(row) for row in packets["timestamp"]])
    last = np.array([row[-1] for row in packets["timestamp"]])
    print("| class | traces | kB down, mean (sd) | kB up | zero bins down, up | packets kept |")
    print("|---|---|---|---|---|---|")
    for label in sorted(set(labels)):
        at = labels == label
        d, u = down[at].sum(1) / 1e3, up[at].sum(1) / 1e3
        zero_d, zero_u = (down[at] == 0).mean(), (up[at] == 0).mean()
        print(
            f"| `{label}` | {at.sum()} | {d.mean():.0f} ({d.std():.0f}) | {u.mean():.0f} "
            f"({u.std():.0f}) | {zero_d:.2f}, {zero_u:.2f} | {kept[at].min()}-{kept[at].max()} "
            f"in {np.median(last[at]):.2f} s |"
        )


def first_packets(length: list[int], direction: list[int], time: list[float]) -> NDArray[Any]:
    """Make 128 features of the first 64 packets."""
    features = np.zeros((2, 64))
    count = min(64, len(length))
    features[0, :count] = np.array(length[:count]) * np.array(direction[:count])
    features[1, :count] = np.log10(np.diff(time[:count], prepend=time[0]) + 1e-6)
    return features.ravel()


def print_accuracy(features: NDArray[Any], labels: NDArray[Any], groups: NDArray[Any]) -> None:
    """Five folds, by trace and by link."""
    forest = RandomForestClassifier(200, random_state=0, n_jobs=2)
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    by_trace = cross_val_predict(forest, features, labels, cv=folds)
    folds = GroupKFold(min(5, len(set(groups))))
    by_link = cross_val_predict(forest, features, labels, cv=folds, groups=groups)
    print(f"accuracy by trace {np.mean(by_trace == labels):.3f}", end=", ")
    print(f"by link {np.mean(by_link == labels):.3f}")
    print(np.unique(labels).tolist())
    print(confusion_matrix(labels, by_trace))


if __name__ == "__main__":
    main()
