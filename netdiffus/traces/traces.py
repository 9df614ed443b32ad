"""Labelled network traces in real units: the one data type that goes in and comes out."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from netdiffus.arrays import Bools as Bools
from netdiffus.arrays import Floats as Floats
from netdiffus.arrays import Ints as Ints
from netdiffus.channels import Channel, same_but_type
from netdiffus.errors import InputError, Note, visible
from netdiffus.tables import ReadOptions, ReadReport
from netdiffus.tables import writing as formats
from netdiffus.tables.columns.labels import class_of
from netdiffus.tables.files import read_files
from netdiffus.tables.formats.arrays import arrays_table, on_host, plain_list
from netdiffus.tables.formats.frames import to_arrow
from netdiffus.tables.lists import to_table
from netdiffus.tables.reading import read_table
from netdiffus.tables.report import Findings
from netdiffus.traces.splitting import group_names, holdout_rows

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure

NEVER_NEGATIVE = ("size", "gap", "volume")
SHOWN = 12  # classes, in what a set says of itself

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Traces:
    """N labelled traces of C channels and at most L points.

    Attributes:
        values: float64 (N, C, L), real units, zero beyond each trace's length.
        lengths: int64 (N,), points in each trace, at least 1.
        channels: What the C channels are.
        labels: int64 (N,), index into `classes`.
        classes: Names of the classes.
        meta: One Arrow row per trace: every further column of the file.
        ledger: What guarantee of privacy they have, see `netdiffus.ledger`; None is none.
    """

    values: Floats
    lengths: Ints
    channels: tuple[Channel, ...]
    labels: Ints
    classes: tuple[str, ...]
    meta: pa.Table = field(default_factory=lambda: pa.table({}))
    ledger: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        n = len(self.values)
        if self.meta.num_columns == 0:
            object.__setattr__(self, "meta", _empty_rows(n))
        if not n == len(self.lengths) == len(self.labels) == self.meta.num_rows:
            raise InputError(
                f"values, lengths, labels and meta must have one row per trace, got {n}, "
                f"{len(self.lengths)}, {len(self.labels)} and {self.meta.num_rows}"
            )
        if n == 0:
            raise InputError("no traces: at least one is needed")
        _check_lengths(self.lengths)
        for c, channel in enumerate(self.channels):
            _check_values(self.values[:, c], self.lengths, channel)

    @classmethod
    def from_lists(
        cls,
        columns: Mapping[str, Sequence[Any]],
        labels: Sequence[str],
        meta: Mapping[str, Sequence[Any]] | None = None,
    ) -> Traces:
        """Traces from plain lists.

        Args:
            columns: For each channel (`packet_length`, `direction`, `timestamp`, `iat`, `value`,
                or any name) one sequence of numbers per trace.
            labels: The class of each trace, none of them empty.
            meta: Further values, one per trace.

        Raises:
            InputError: Lists of one trace differ in length, or hold impossible values, or there is
                not one of each for every label.
        """
        meta = meta or {}
        if isinstance(labels, str):
            raise InputError(f"labels is the text {labels!r}; give a list with one for each trace")
        if not isinstance(columns, Mapping):
            raise InputError(
                f"columns is a {type(columns).__name__}; give a mapping of each channel to its "
                "lists, such as {'packet_length': [[40, 1500], [90]]}"
            )
        if twice := set(columns) & set(meta):
            raise InputError(
                f"{min(twice)!r} is among the channels and in meta; name one otherwise"
            )
        columns = {name: on_host(column) for name, column in columns.items()}
        for name, column in {**columns, **meta}.items():
            if name == "label":
                raise InputError("'label' is the column of the classes; name it otherwise")
            if len(column) != len(labels):
                raise InputError(f"{name} has {len(column)} traces and labels has {len(labels)}")
        arrays: dict[str, Any] = {"label": [class_of(label) for label in labels], **meta}
        arrays |= {name: [plain_list(one) for one in c] for name, c in columns.items()}
        return cls.from_arrow(to_arrow(arrays))

    @classmethod
    def from_arrow(cls, table: Any, length: int | None = None, **options: Any) -> Traces:
        """Traces from an Arrow table with a column of classes and one list column per channel.

        Args:
            table: One row per trace; list columns become channels, the others meta. A record batch
                or a stream of them will do, or whatever gives Arrow (`__arrow_c_stream__`).
            length: Keep at most this many points of each trace.
            **options: `channels`, `label_column`, `columns` and `by`; see `load`.

        Raises:
            InputError: Names the column and the row that cannot be used.

        Warns:
            Note: Of each thing that was changed or left out.
        """
        chosen = ReadOptions(length=length, **options)
        return cls._read([to_arrow(table)], chosen, Findings(), "table")[0]

    @classmethod
    def from_frame(cls, data: Any, length: int | None = None, **options: Any) -> Traces:
        """Traces from a frame: of pandas, polars, Arrow, or a data set of Hugging Face.

        One row is one trace with lists in its cells; or, with `by`, one packet:
        `Traces.from_frame(packets, by="flow_id")`.

        Args:
            data: The frame, lazy ones of polars too; or anything else that gives Arrow
                (`__arrow_c_stream__`), a data set or file of Arrow, record batches, a mapping of
                columns, or a list of mappings, one per trace.
            length: Keep at most this many points of each trace.
            **options: `channels`, `label_column`, `columns` and `by`; see `load`.

        Raises:
            InputError: Names the column and the row that cannot be used.

        Warns:
            Note: Of each thing that was changed or left out.
        """
        return cls.from_arrow(to_arrow(data), length, **options)

    @classmethod
    def from_arrays(
        cls,
        x: Any,
        y: Any,
        channels: Sequence[str] | str | None = None,
        *,
        lengths: Any = None,
        length: int | None = None,
    ) -> Traces:
        """Traces from arrays X and y, as classifiers take them.

        Args:
            x: Numbers (N, L), (N, L, C) or (N, C, L), or one sequence of numbers per trace; of
                NumPy, torch (dense, sparse or nested, on any device) or Arrow. NaN, and what a mask
                of NumPy hides, is padding at the end of a trace, and so is 0 where 0 is no possible
                packet. Truth values of `direction` are +1 and -1.
            y: (N,), the class of each trace, none of them empty; or (N, K) one-hot.
            channels: What the C channels are: `packet_length`, `direction`, `timestamp`, `iat`,
                `value`, or names of your own.
            lengths: Points of each trace, whole numbers from 1 to L, if they are known.
            length: Keep at most this many points of each trace.

        Raises:
            InputError: Shapes that do not fit, classes that are empty, or impossible values.

        Warns:
            Note: Of each thing that was changed.
        """
        findings = Findings(form="arrays")
        names = ReadOptions(channels=channels).channels
        held = [arrays_table(x, y, names, findings, lengths)]
        return cls._read(held, ReadOptions(length=length), findings, "X, y")[0]

    @classmethod
    def _read(
        cls, held: list[pa.Table], options: ReadOptions, findings: Findings, source: str
    ) -> tuple[Traces, ReadReport]:
        fields, report = read_table(held, options, findings, source)
        traces = cls(**fields)
        for note in report.notes():
            warnings.warn(Note(note if source == "table" else f"{source}: {note}"), stacklevel=4)
        return traces, report

    def to_arrow(self) -> pa.Table:
        """One row per trace: `label`, meta, then one list column per channel."""
        lists = {channel: self.points(c) for c, channel in enumerate(self.channels)}
        return to_table(self.label_names.tolist(), self.meta, lists, self.lengths, self.ledger)

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        """The table of `to_arrow` as a stream, which polars, DuckDB and others read."""
        return self.to_arrow().__arrow_c_stream__(requested_schema)

    def to_pandas(self) -> pandas.DataFrame:
        """The same as a pandas DataFrame (pandas must be installed)."""
        return self.to_arrow().to_pandas()

    @classmethod
    def load(
        cls,
        path: str | Path,
        length: int | None = None,
        *,
        channels: Sequence[str] | str | None = None,
        label_column: str | None = None,
        columns: Mapping[str, str] | None = None,
        by: str | None = None,
        encoding: str | None = None,
    ) -> Traces:
        """Reads a file of traces.

        Parquet (.parquet, .pq; also a folder of them, or a glob), CSV and TSV with any separator,
        Arrow (.feather, .arrow), JSON and JSON lines, NumPy (.npz, .npy with X and y) and ARFF;
        text also compressed (.gz, .bz2, .xz, .zst). Columns of tcbench, nfstream, ipfixprobe,
        CESNET DataZoo, MIRAGE, joy, CICFlowMeter and nfdump are known by name. What was read as
        what goes to the log of this module.

        Args:
            path: The file.
            length: Keep at most this many points of each trace.
            channels: Read only these channels, in this order; for an array their names.
            label_column: The column of the classes, if it has no usual name; `=NAME` is one class
                of all traces.
            columns: Old name of a column to new name; `{"time": "timestamp_us"}` says that `time`
                holds times in µs.
            by: Column of the trace, of a table with one row per packet.
            encoding: Of text that is no UTF-8, such as `gb18030`. If not given, Unicode and
                Windows-1252 are found; what may be another is refused.

        Raises:
            InputError: Names the file and what is wrong with it.

        Warns:
            Note: Of each thing that was changed or left out.
        """
        options = ReadOptions(length, channels, label_column, columns or {}, by, encoding)
        return cls.load_with_report(path, options)[0]

    @classmethod
    def load_with_report(
        cls, path: str | Path, options: ReadOptions | None = None
    ) -> tuple[Traces, ReadReport]:
        """As `load`, and what was read as what.

        Raises:
            InputError: Names the file and what is wrong with it.

        Warns:
            Note: Of each thing that was changed or left out.
        """
        path, options, findings = Path(path), options or ReadOptions(), Findings()
        held = [read_files(path, options, findings)]
        if findings.form.startswith(("NPZ of", "NPY")):  # whose channels are named by then
            options = replace(options, channels=None)
        try:
            traces, report = cls._read(held, options, findings, str(path))
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
        except MemoryError:
            raise InputError(
                f"{path}: not enough memory; keep fewer points (--length) or channels (--channels)"
            ) from None
        logger.info("%s", report)
        return traces, report

    def save(
        self, path: str | Path, *, force: bool = False, for_spreadsheets: bool = False
    ) -> None:
        """Writes a .parquet, .csv or .npz file, whole or not at all.

        Parquet and NPZ keep every element type; CSV widens them to int64 and float64, with the
        same values.

        Args:
            path: The file.
            force: Replace a file that is there.
            for_spreadsheets: Of a CSV file: text that a spreadsheet would run as a formula (it
                begins with `=`, `+`, `-`, `@`, a tab or a line break) gets an apostrophe before
                it. It is then other text, also when it is read again.

        Raises:
            FileExistsError: The file is there and `force` is false.
            InputError: `for_spreadsheets` with another kind of file than CSV.

        Warns:
            Note: CSV has no place for the ledger of private traces.
        """
        if self.ledger is not None and Path(path).suffix.lower() == ".csv":
            note = f"{path}: CSV has no place for the privacy ledger; .parquet and .npz keep it"
            warnings.warn(Note(note), stacklevel=2)
        table = self.to_arrow()
        formats.write(table, Path(path), force=force, for_spreadsheets=for_spreadsheets)

    def plot(self, other: Traces | None = None, *, each: int = 3, seed: int = 0) -> Figure:
        """Some traces of each class as a figure, `other` beside them; see `traces.plots.plot`."""
        from netdiffus.traces.plots import plot  # matplotlib is slow to import

        return plot(self, other, each=each, seed=seed)

    def __repr__(self) -> str:
        shortest, longest = self.lengths.min(), self.lengths.max()
        counts = [f"{name} {n:,}" for name, n in self.counts().items()]
        more = [f"and {len(counts) - SHOWN} more"] if len(counts) > SHOWN else []
        lines = [
            f"Traces: {len(self):,} of {len(counts)} classes, {shortest:,} to {longest:,} points",
            f"  classes: {', '.join(counts[:SHOWN] + more)}",
            f"  channels: {', '.join(channel.title for channel in self.channels)}",
            f"  meta: {', '.join(self.meta.column_names) or 'none'}",
        ]
        return "\n".join(map(visible, lines))

    def _repr_html_(self) -> str:
        from netdiffus.traces.notebook import traces_html

        return traces_html(self)

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: int | slice | npt.NDArray[Any] | Sequence[int]) -> Traces:
        rows = np.atleast_1d(np.arange(len(self))[index])
        if len(rows) == 0:
            raise InputError("no traces: at least one is needed")
        return self._known_good(
            values=self.values[rows],
            lengths=self.lengths[rows],
            labels=self.labels[rows],
            meta=self.meta.take(pa.array(rows))
            if self.meta.num_columns
            else _empty_rows(len(rows)),
        )

    @property
    def label_names(self) -> npt.NDArray[np.str_]:
        """The class name of each trace, (N,)."""
        return np.array(self.classes, dtype=np.str_)[self.labels]

    @property
    def mask(self) -> Bools:
        """(N, L), true where a trace has a point."""
        return np.arange(self.values.shape[2])[None] < self.lengths[:, None]

    def points(self, channel: int | str) -> Floats:
        """All values of one channel, one after another, without padding."""
        c = channel if isinstance(channel, int) else self._index(channel)
        return self.values[:, c][self.mask]

    def counts(self) -> dict[str, int]:
        """How many traces each class has."""
        found = np.bincount(self.labels, minlength=len(self.classes))
        return {name: int(n) for name, n in zip(self.classes, found, strict=True)}

    def equals(self, other: Traces) -> bool:
        """Whether the other has the same values, lengths, channel names, labels and meta."""
        return (
            [c.name for c in self.channels] == [c.name for c in other.channels]
            and np.array_equal(self.lengths, other.lengths)
            and np.array_equal(self.label_names, other.label_names)
            and all(
                np.array_equal(self.points(c), other.points(c)) for c in range(len(self.channels))
            )
            and self.meta.equals(other.meta)
        )

    def truncate(self, length: int) -> Traces:
        """The first `length` points of each trace."""
        if length < 1:
            raise InputError(f"length must be at least 1, got {length}")
        return self._known_good(
            values=self.values[:, :, :length],
            lengths=np.minimum(self.lengths, length),
        )

    def select(self, names: Sequence[str]) -> Traces:
        """Only the channels of these names, in this order."""
        index = [self._index(name) for name in names]
        return self._known_good(
            values=self.values[:, index], channels=tuple(self.channels[i] for i in index)
        )

    def of_class(self, name: str) -> Traces:
        """Only the traces of one class."""
        if name not in self.classes:
            raise InputError(f"label {name!r} is not a class; classes: {', '.join(self.classes)}")
        return self[self.labels == self.classes.index(name)]

    def without_empty_classes(self) -> Traces:
        """The same, of the classes that have a trace."""
        present, labels = np.unique(self.labels, return_inverse=True)
        classes = tuple(self.classes[k] for k in present)
        return self._known_good(labels=labels.astype(np.int64), classes=classes)

    def with_gaps(self) -> Traces:
        """Times since the first packet replaced by gaps since the previous packet."""
        values = self.values.copy()
        channels = list(self.channels)
        for c in self._times():
            gaps = np.diff(values[:, c], axis=1, prepend=0.0)
            values[:, c] = np.where(self.mask, np.maximum(gaps, 0.0), 0.0)
            channels[c] = Channel("gap", "gap", "s", channels[c].dtype)
        return replace(self, values=values, channels=tuple(channels))

    def duplicates(self) -> Ints:
        """(N,): for each trace the row of the first trace with the same points."""
        first: dict[bytes, int] = {}
        # Of a hash of 16 bytes no two different traces will ever be found to be alike.
        keys = (
            blake2b(row[:, :length].tobytes(), digest_size=16).digest()
            for row, length in zip(self.values, self.lengths, strict=True)
        )
        return np.array([first.setdefault(key, i) for i, key in enumerate(keys)], dtype=np.int64)

    def split(
        self,
        fraction: float = 0.2,
        *,
        by: str | None = None,
        sep: str | None = None,
        seed: int = 0,
        keep_duplicates: bool = True,
    ) -> tuple[Traces, Traces]:
        """Splits off a stratified holdout.

        Args:
            fraction: Share of each class that is held out, in (0, 1).
            by: Meta column; traces of one group all fall on the same side.
            sep: The group is only the part of that column's text before `sep`.
            seed: Same seed, same split.
            keep_duplicates: Identical traces all fall on the same side.

        Returns:
            (the rest, the holdout).

        Raises:
            InputError: A class is too small, or lies in too few groups, to be on both sides.
        """
        groups = []
        if by is not None:
            groups.append(np.unique(group_names(self.meta, by, sep), return_inverse=True)[1])
        groups += [self.duplicates()] if keep_duplicates else []
        held = holdout_rows(self.labels, self.classes, groups, fraction, seed)
        return self[~held], self[held]

    def _known_good(self, **changes: Any) -> Traces:
        """The same but for fields that need no check, as they are of these traces."""
        other = object.__new__(Traces)
        for name, value in {**vars(self), **changes}.items():
            object.__setattr__(other, name, value)
        return other

    def _index(self, name: str) -> int:
        names = [channel.name for channel in self.channels]
        if name not in names:
            raise InputError(f"channel {name!r} is not there; channels: {', '.join(names)}")
        return names.index(name)

    def _times(self) -> list[int]:
        return [c for c, channel in enumerate(self.channels) if channel.kind == "time"]


def values_of(traces: Traces, kind: str) -> Floats | None:
    """(N, L): the values of the first channel of this kind; None where there is none."""
    mine = [c for c, channel in enumerate(traces.channels) if channel.kind == kind]
    return traces.values[:, mine[0]] if mine else None


def concat(parts: Sequence[Traces]) -> Traces:
    """The traces of all parts, which must have the same channels, one after another.

    Classes are joined by name; meta columns that not all parts have are left out. Where element
    types differ the channel is of int64, or of double if one of them has fractions. A privacy
    ledger is kept if all parts have the same.

    Raises:
        InputError: No parts, or channels that differ.
    """
    if not parts:
        raise InputError("concat: no traces")
    for part in parts:
        if not same_but_type(part.channels, parts[0].channels):
            found = ", ".join(channel.title for channel in part.channels)
            wanted = ", ".join(channel.title for channel in parts[0].channels)
            raise InputError(f"concat: channels differ: {wanted} and {found}")
    classes = tuple(dict.fromkeys(name for part in parts for name in part.classes))
    longest = max(part.values.shape[2] for part in parts)
    shared = [
        name
        for name in parts[0].meta.column_names
        if all(name in part.meta.column_names for part in parts)
    ]
    n = sum(len(part) for part in parts)
    ledgers = [part.ledger for part in parts]
    same_ledger = all(one == ledgers[0] for one in ledgers)
    if not same_ledger:
        warnings.warn(
            Note("concat: the parts have different privacy ledgers; the result has none"),
            stacklevel=2,
        )
    return Traces(
        values=np.concatenate([_widen(part.values, longest) for part in parts]),
        lengths=np.concatenate([part.lengths for part in parts]),
        channels=tuple(_joined(same) for same in zip(*(p.channels for p in parts), strict=True)),
        labels=np.concatenate(
            [np.array([classes.index(c) for c in part.classes])[part.labels] for part in parts]
        ),
        classes=classes,
        meta=pa.concat_tables([part.meta.select(shared) for part in parts])
        if shared
        else _empty_rows(n),
        ledger=ledgers[0] if same_ledger else None,
    )


def _joined(same: Sequence[Channel]) -> Channel:
    """The channel of one name of several parts."""
    if len({channel.dtype for channel in same}) == 1:
        return same[0]
    fractions = any(pa.types.is_floating(pa.type_for_alias(channel.dtype)) for channel in same)
    return replace(same[0], dtype="double" if fractions else "int64")


def _widen(values: Floats, length: int) -> Floats:
    return np.pad(values, ((0, 0), (0, 0), (0, length - values.shape[2])))


def _empty_rows(n: int) -> pa.Table:
    """A table of n rows and no columns, which Arrow only makes by taking the column away."""
    return pa.table({"row": pa.nulls(n)}).select([])


def _check_lengths(lengths: Ints) -> None:
    if lengths.min() < 1:
        row = int(np.argmin(lengths))
        raise InputError(f"trace {row} has no points; remove it, every trace needs at least one")


def _check_values(values: Floats, lengths: Ints, channel: Channel) -> None:
    """Raises InputError at the first impossible value of a channel, (N, L)."""
    _refuse(~np.isfinite(values), values, channel, "remove the trace or replace the value")
    if channel.kind in NEVER_NEGATIVE:
        _refuse(values < 0, values, channel, f"a {channel.kind} cannot be negative")
    if channel.kind == "direction":
        inside = np.arange(values.shape[1])[None] < lengths[:, None]
        wrong = inside & (values != 1) & (values != -1)
        _refuse(wrong, values, channel, "a direction is +1 or -1; cut padding off")


def _refuse(wrong: Bools, values: Floats, channel: Channel, advice: str) -> None:
    if wrong.any():
        row, point = (int(i) for i in np.argwhere(wrong)[0])
        raise InputError(
            f"{channel.name} is {values[row, point]:g} at point {point} of trace {row} "
            f"({int(wrong.any(axis=1).sum())} traces affected): {advice}"
        )
