"""Small traces that tests make and train on."""

from __future__ import annotations

import numpy as np

from netdiffus.traces.traces import Traces


def packets(n: int = 12, longest: int = 9, seed: int = 0, fixed: bool = False) -> Traces:
    """n traces of sizes, directions and float32 times, of 1..longest packets, in three classes."""
    rng = np.random.default_rng(seed)
    lengths = np.full(n, longest) if fixed else rng.integers(1, longest + 1, n)

    def times(k: int) -> list[float]:
        since = np.cumsum(rng.exponential(0.1, k))
        return list((since - since[0]).tolist())

    return Traces.from_lists(
        {
            "packet_length": [rng.choice([40, 52, 158, 1500, 733], k).tolist() for k in lengths],
            "direction": [rng.choice([-1, 1], k).tolist() for k in lengths],
            "timestamp": [times(int(k)) for k in lengths],
        },
        labels=[("web", "ssh", "video")[i % 3] for i in range(n)],
        meta={"trace_id": [f"file-{i // 4}#{i}" for i in range(n)]},
    )


def volumes(n: int = 24, length: int = 16, seed: int = 0) -> Traces:
    """n binned traces of two classes that a glance tells apart: steady and on/off."""
    rng = np.random.default_rng(seed)
    down = []
    for i in range(n):
        steady = np.full(length, 1000.0) if i % 2 else 4000.0 * (np.arange(length) % 4 == 0)
        down.append(np.rint(steady * rng.uniform(0.8, 1.2, length)).astype(int).tolist())
    return Traces.from_lists(
        {"value": down, "value_up": [[v // 20 for v in one] for one in down]},
        labels=[("onoff", "steady")[i % 2] for i in range(n)],
        meta={"trace_id": [str(i) for i in range(n)], "group": [f"g{i % 6}" for i in range(n)]},
    )


def users(n: int = 900, seed: int = 0, length: int = 6) -> Traces:
    """Two classes that a glance tells apart; times, protocol and port, three traces a user."""
    rng = np.random.default_rng(seed)
    label = np.arange(n) % 2
    sizes = [rng.choice((100, 1400) if k else (60, 700), length - int(k)).tolist() for k in label]
    gaps = [np.cumsum([0.0, *rng.exponential(0.01 if k else 1.0, len(s) - 1)]) for k, s in
            zip(label, sizes, strict=True)]  # fmt: skip
    return Traces.from_lists(
        {
            "packet_length": sizes,
            "direction": [[1, -1] * (len(s) // 2) + [1] * (len(s) % 2) for s in sizes],
            "timestamp": [one.tolist() for one in gaps],
        },
        ["video" if k else "chat" for k in label],
        {
            "protocol": ["tcp" if k else "udp" for k in label],
            "server_port": [443 if k else 3478 for k in label],
            "user": [f"u{i // 3}" for i in range(n)],
        },
    )
