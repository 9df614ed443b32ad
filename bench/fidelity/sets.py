"""The public sets that the bench judges by, read as its table of bars reads them."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import train_test_split

from netdiffus.channels import Channel
from netdiffus.errors import InputError, Note
from netdiffus.traces.lab import lab_traffic
from netdiffus.traces.traces import Floats, Traces

HELD = 0.2  # share of the traces that judge
PUBLISHED_SPLIT = 42  # gives mirage_appx 13,043 and 3,267 flows, 62 % of which it has seen
LAB = "lab"
SIGNED = Channel("signed_length", "number", "B", "int32")
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Bars:
    """What synthetic traces of a set must reach.

    Attributes:
        real: Accuracy, on held-out traces, of a forest that learned from real ones.
        synthetic: The same from as many synthetic ones: at least this.
        auc: Of a forest that tells synthetic from held-out traces: at most this.
        hellinger: Mean over classes of the distance of sizes: at most this.
    """

    real: float
    synthetic: float
    auc: float | None = None
    hellinger: float | None = None


@dataclass(frozen=True)
class FidelitySet:
    """Real traces to learn from and, never seen, to judge by.

    Of each trace the first `points` are looked at. `bars` are to be reached; the bundled set has
    none.
    """

    name: str
    train: Traces
    holdout: Traces
    points: int
    bars: Bars | None = None

    def view(self, traces: Traces) -> Floats:
        """(N, n): what the forests see of traces, from any generator. See `view`."""
        return view(traces, self.points)

    @property
    def files(self) -> Rows:
        """(N,): for each held-out trace its unit of chance, a file that several were cut from."""
        names = [str(name).split("#")[0] for name in self.holdout.meta["trace_id"].to_pylist()]
        return np.unique(names, return_inverse=True)[1]


def view(traces: Traces, points: int) -> Floats:
    """(N, n): the raw first n values of each trace in the channel's unit, zero beyond its end.

    Sizes come with the sign of their direction, where traces have one; else it is the first
    channel as it is.
    """
    names = [channel.name for channel in traces.channels]
    seen = traces.values[:, 0, :points]
    if "packet_length" in names and "direction" in names:
        length, direction = (
            traces.values[:, names.index(name), :points] for name in ("packet_length", "direction")
        )
        seen = length * direction
    return np.pad(seen, ((0, 0), (0, points - seen.shape[1])))


def signed(traces: Traces) -> Traces:
    """Traces whose packet length and direction are one channel `signed_length`, their product, B.

    It is of the kind `number`, as a size cannot be negative; `view` reads either form alike.
    """
    if [channel.name for channel in traces.channels] != ["packet_length", "direction"]:
        return traces
    product = view(traces, traces.values.shape[2])[:, None]
    return replace(traces, values=product, channels=(SIGNED,))


def unsigned(traces: Traces) -> Traces:
    """What `signed` made one channel, as packet length and direction again."""
    if traces.channels[0].name != SIGNED.name:
        return traces
    value = traces.values[:, 0]
    direction = np.where(traces.mask, np.where(value < 0, -1.0, 1.0), 0.0)
    channels = (Channel.named("packet_length", SIGNED.dtype), Channel.named("direction", "int8"))
    return replace(traces, values=np.stack([np.abs(value), direction], 1), channels=channels)


def folder_of_data() -> Path:
    """The folder that NETDIFFUS_DATA names, or ../shared/data beside the repository."""
    beside = Path(__file__).parents[3] / "shared" / "data"
    return Path(os.environ.get("NETDIFFUS_DATA", beside))


def load(name: str, folder: Path | None = None, *, seed: int = 0) -> FidelitySet:
    """Reads a set of `SETS` from its Parquet file in the folder, and splits it by the seed.

    The figures of the table of bars are those of seed 0. `lab` comes with the package.

    Raises:
        InputError: No such set, or its file is missing.
    """
    if name not in SETS:
        raise InputError(f"set {name!r} is not known; there are {', '.join(SETS)}")
    points, bars, read = SETS[name]
    path = _path(name, folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Note)  # alexa_voice has packets that are not in order
        train, holdout = read(path, points, seed)
    return FidelitySet(name, train, holdout, points, bars)


def _path(name: str, folder: Path | None) -> Path:
    path = (folder_of_data() if folder is None else folder) / f"{name}.parquet"
    if name != LAB and not path.is_file():
        raise InputError(
            f"{path}: no such file; name the folder of the public sets with --data or "
            "NETDIFFUS_DATA"
        )
    return path


def _web_doh(path: Path, points: int, seed: int) -> tuple[Traces, Traces]:
    return _stratified(Traces.load(path, length=points), seed)


def _video_platforms(path: Path, points: int, seed: int) -> tuple[Traces, Traces]:
    """Downlink bytes alone: 200 bins of 0.1 s become 50 of 0.4 s."""
    return _stratified(_summed(Traces.load(path).select(["value"]), points, 0.4, "B per bin"), seed)


def _cell5g_apps(path: Path, points: int, seed: int) -> tuple[Traces, Traces]:
    """Downlink alone: kbit/s of 128 s become kbit of 64 bins of 2 s; no file on both sides."""
    traces = _summed(Traces.load(path).select(["value"]), points, 2.0, "kbit per bin")
    file = np.array([name.split("#")[0] for name in traces.meta["trace_id"].to_pylist()])
    files = np.random.default_rng(seed).permutation(np.unique(file))
    held = np.isin(file, files[: int(HELD * len(files))])
    return traces[~held], traces[held]


def _alexa_voice(path: Path, points: int, seed: int) -> tuple[Traces, Traces]:
    """Sizes of the first packets over 100 B to the speaker: the others say nothing of the class."""
    whole = Traces.load(path).select(["packet_length", "direction"])
    sizes = [
        one[0, (one[0] > 100) & (one[1] < 0)][:points].astype(np.int32) for one in whole.values
    ]
    kept = Traces.from_lists(
        {"packet_length": sizes}, whole.label_names.tolist(), whole.meta.to_pydict()
    )
    return _stratified(kept, seed)


def all_of_mirage_appx(folder: Path | None = None) -> FidelitySet:
    """mirage_appx with all training flows of the published split.

    Raises:
        InputError: Its file is missing.
    """
    points, _, _ = SETS["mirage_appx"]
    path = _path("mirage_appx", folder)
    return FidelitySet("mirage_appx", *_published_split(path, points), points)


def _mirage_appx(path: Path, points: int, seed: int) -> tuple[Traces, Traces]:
    """The published split, of which 100 flows of each class are learned from (92 of KakaoTalk)."""
    train, holdout = _published_split(path, points)
    rng = np.random.default_rng(seed)
    each = [np.flatnonzero(train.labels == label) for label in range(len(train.classes))]
    return train[np.concatenate([rng.permutation(mine)[:100] for mine in each])], holdout


def _published_split(path: Path, points: int) -> tuple[Traces, Traces]:
    traces = Traces.load(path, length=points).select(["packet_length", "direction"])
    train, holdout = [], []
    for label in range(len(traces.classes)):
        mine = np.flatnonzero(traces.labels == label)
        rest, held = train_test_split(mine, test_size=HELD, random_state=PUBLISHED_SPLIT)
        train.append(rest)
        holdout.append(held)
    return traces[np.concatenate(train)], traces[np.concatenate(holdout)]


def _lab(path: Path, points: int, seed: int) -> tuple[Traces, Traces]:
    """First packets of a ninth of the bundled sessions: small enough to be learned in seconds."""
    packets = lab_traffic("packets").select(["packet_length", "direction"]).truncate(points)
    return _stratified(packets[::9], seed)


def _stratified(traces: Traces, seed: int) -> tuple[Traces, Traces]:
    """scikit-learn's split, whose seed 0 the table of bars was made with."""
    train, holdout = train_test_split(
        np.arange(len(traces)), test_size=HELD, stratify=traces.labels, random_state=seed
    )
    return traces[train], traces[holdout]


def _summed(traces: Traces, bins: int, width: float, unit: str) -> Traces:
    """One channel of volumes in fewer, wider bins of `width` seconds, whole numbers."""
    n, channels, length = traces.values.shape
    values = traces.values.reshape(n, channels, bins, length // bins).sum(axis=3)
    named = tuple(replace(c, unit=unit, bin_width=width) for c in traces.channels)
    return replace(traces, values=values, lengths=np.full(n, bins), channels=named)


Reader = Callable[[Path, int, int], tuple[Traces, Traces]]
SETS: dict[str, tuple[int, Bars | None, Reader]] = {
    "web_doh": (32, Bars(0.775, 0.62, auc=0.90), _web_doh),
    "video_platforms": (50, Bars(0.90, 0.86, auc=0.80), _video_platforms),
    "cell5g_apps": (64, Bars(0.94, 0.91, auc=0.75), _cell5g_apps),
    "alexa_voice": (64, Bars(0.46, 0.38, auc=0.80), _alexa_voice),
    "mirage_appx": (10, Bars(0.84, 0.76, hellinger=0.09), _mirage_appx),
    LAB: (8, None, _lab),
}
