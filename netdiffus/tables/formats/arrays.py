"""Arrays X, y of traces as tables: (N, L), (N, L, C), (N, C, L), or one array per trace."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from netdiffus.channels import KINDS
from netdiffus.errors import InputError
from netdiffus.tables.columns.arrow import lists_of
from netdiffus.tables.columns.labels import is_missing
from netdiffus.tables.columns.names import channel_named
from netdiffus.tables.report import Findings

ASK = (
    "say what the numbers are: channels=… (--channels), such as packet_length, direction, "
    "timestamp, iat, value, or a name of your own"
)

_SPARSE = ("torch.sparse_csr", "torch.sparse_csc", "torch.sparse_bsr", "torch.sparse_bsc")


def arrays_table(
    x: Any,
    y: Any,
    channels: Sequence[str] | None,
    findings: Findings,
    lengths: Any = None,
    *,
    channels_last: bool = False,
) -> pa.Table:
    """A table with `label` and one list column per channel.

    Points at the end that are NaN are padding; so are those that are 0 in all channels, unless 0
    can be a value (volumes and plain numbers). `timestamp` with signs, as WFlib and Tik-Tok write
    it, is the time and the direction of each packet.

    Args:
        x: Numbers (N, L), (N, L, C) or (N, C, L), or N sequences of numbers.
        y: N classes.
        channels: Names of the C channels; of numbers that are all -1, 0 and 1 not needed.
        findings: Where is said what was cut.
        lengths: Points of each trace, if known.
        channels_last: Whether it is known that X is (N, L, C).

    Raises:
        InputError: Shapes that do not fit, or channels that are not named.
    """
    x, labels = on_host(x), _labels(on_host(y))
    if isinstance(x, Mapping):
        raise InputError("X is a mapping: give it to Traces.from_frame, with `label` as a column")
    if _is_ragged(x):
        return _ragged_table([np.asarray(one) for one in x], labels, channels)
    values = np.asarray(x)
    if values.dtype == object and hasattr(x, "toarray"):
        raise InputError(f"X is a {type(x).__name__}, a sparse matrix: give X.toarray()")
    if values.dtype.kind not in "iufb":
        raise InputError(f"X holds {values.dtype}, not numbers")
    if values.ndim not in (2, 3):
        raise InputError(f"X has the shape {values.shape}; it must be (N, L), (N, L, C), (N, C, L)")
    _check_rows(len(values), len(labels))
    if not values.shape[-1]:
        raise InputError(f"X has the shape {values.shape}: its traces have no points")
    cube, names = _cube(values, channels)
    if cube.dtype == bool and "direction" in map(channel_named, names):
        findings.mended.append("X: true was read as +1, from the client, false as -1")
        cube = np.where(cube, 1, -1)
    if not channels_last and values.ndim == 3 and values.shape[1] == values.shape[2] > 1:
        findings.mended.append(f"X of shape {values.shape} was read as (traces, points, channels)")
    kept = _lengths(cube, names, findings) if lengths is None else _checked(lengths, cube)
    columns = _split_signs(cube, names, findings)
    inside = np.arange(cube.shape[2])[None] < kept[:, None]
    lists = {name: lists_of(pa.array(one[inside]), kept) for name, one in columns.items()}
    return _table(labels, lists)


def plain_list(one: Any) -> Any:
    """The numbers of one trace as a list; what a mask hides is NaN."""
    return np.asarray(on_host(one)).tolist()


def on_host(array: Any) -> Any:
    """A tensor of torch, an array of Arrow or with a mask, or a list of them, for NumPy.

    Other objects are returned unchanged. Masked values become NaN.
    """
    if isinstance(array, list | tuple) and any(map(_is_foreign, array)):
        return [on_host(one) for one in array]
    if isinstance(array, np.ma.MaskedArray):
        hidden = np.ma.getmaskarray(array)
        return np.where(hidden, np.nan, array.data) if hidden.any() else array.data
    if hasattr(array, "to_pylist"):
        return array.to_pylist()
    if not hasattr(array, "detach"):
        return array
    if array.device.type == "meta":
        raise InputError("X or y is a tensor on the device meta, which holds no numbers")
    plain = array.detach().cpu()
    if plain.is_sparse or str(plain.layout) in _SPARSE:
        plain = plain.to_dense()
    if plain.is_nested:
        return [on_host(one) for one in plain.unbind()]
    # NumPy has no bfloat16.
    return plain.float().numpy() if str(plain.dtype) == "torch.bfloat16" else plain.numpy()


def _is_foreign(one: Any) -> bool:
    return hasattr(one, "detach") or isinstance(one, np.ma.MaskedArray)


def _labels(y: Any) -> npt.NDArray[Any]:
    """The class of each trace, (N,)."""
    if y is None:
        raise InputError("y is None: give the class of each trace, such as ['web', 'dns', …]")
    labels = np.asarray(y)
    if labels.ndim == 2 and labels.shape[1] > 1:
        labels = _one_hot(labels)
    labels = labels.reshape(-1)
    if labels.dtype == object:
        for row, one in enumerate(labels):
            if is_missing(one):
                raise InputError(f"y has no class for trace {row}; name it, or leave the trace out")
    return labels


def _ragged_table(
    arrays: list[npt.NDArray[Any]], labels: npt.NDArray[Any], channels: Sequence[str] | None
) -> pa.Table:
    """Traces of several lengths: (n,), or (n, C) or (C, n) of C channels."""
    _check_rows(len(arrays), len(labels))
    count = 1 if channels is None else len(channels)
    flat = np.concatenate([one.reshape(-1) for one in arrays])
    names = _named(channels, count, flat)
    rows = [_by_channel(k, one, count) for k, one in enumerate(arrays)]
    columns = {name: [row[c] for row in rows] for c, name in enumerate(names)}
    return _table(
        labels, {name: pa.array(one, pa.list_(_kind(one))) for name, one in columns.items()}
    )


def _by_channel(row: int, one: npt.NDArray[Any], count: int) -> npt.NDArray[Any]:
    """One trace as (C, n)."""
    if count == 1:
        return np.asarray(one.reshape(1, -1))
    if one.ndim == 2 and one.shape[1] == count:
        return np.asarray(one.T)
    if one.ndim == 2 and one.shape[0] == count:
        return np.asarray(one)
    raise InputError(f"trace {row} of X has the shape {one.shape}, not (n, {count}): {ASK}")


def _one_hot(y: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if y.dtype.kind not in "iufb" or not ((y == 0) | (y == 1)).all() or (y.sum(1) != 1).any():
        raise InputError(f"y has the shape {y.shape} and is not one-hot; give one class per trace")
    return np.asarray(y.argmax(1))


def _is_ragged(x: Any) -> bool:
    if isinstance(x, np.ndarray):
        return bool(x.dtype == object)
    try:
        return len({np.shape(one) for one in x}) > 1
    except (TypeError, ValueError):
        raise InputError(
            f"X is no array and no list of them, but {type(x).__name__}: give the numbers, (N, L)"
        ) from None


def _kind(lists: list[npt.NDArray[Any]]) -> pa.DataType:
    whole = all(one.dtype.kind in "iub" for one in lists)
    return pa.int64() if whole else pa.float64()


def _table(labels: npt.NDArray[Any], columns: dict[str, pa.Array]) -> pa.Table:
    if labels.dtype.kind not in "iufbUS":
        labels = labels.astype(np.str_)
    return pa.table({"label": pa.array(labels), **columns})


def _named(
    channels: Sequence[str] | None, count: int, values: npt.NDArray[Any] | None
) -> tuple[str, ...]:
    if channels is None:
        if count == 1 and values is not None and _are_directions(values):
            return ("direction",)
        if count == 1 and values is not None and _are_signed_times(values):
            return ("timestamp",)
        raise InputError(f"X has {count} channel(s) without a name: {ASK}")
    if len(channels) != count:
        raise InputError(f"X has {count} channels, but {len(channels)} names: {ASK}")
    return tuple(channels)


def _are_directions(values: npt.NDArray[Any]) -> bool:
    """Whether the numbers are +1, -1 and, at the end, 0, as Deep Fingerprinting's are."""
    return bool((values == 1).any() and (values == -1).any() and (np.abs(values) <= 1).all()
                and (values == np.rint(values)).all())  # fmt: skip


def _are_signed_times(values: npt.NDArray[Any]) -> bool:
    """Whether the numbers are times with the sign of a direction, as WFlib's and Tik-Tok's are.

    That is so if without their sign they begin near 0 and rise in each trace, to zeros at its end.
    """
    if values.dtype.kind != "f" or values.ndim != 2 or not (values < 0).any():
        return False
    if not ((values > 0).any() and np.isfinite(values).all() and (values != np.rint(values)).any()):
        return False
    times = np.abs(values)
    after = np.arange(values.shape[1])[None] > np.where(
        times > 0, np.arange(values.shape[1]), 0
    ).max(1, keepdims=True)
    rises = (np.diff(times, axis=1) >= 0) | after[:, 1:]
    return bool(rises.all() and times[:, 0].max() < 1)


def _cube(
    values: npt.NDArray[Any], channels: Sequence[str] | None
) -> tuple[npt.NDArray[Any], tuple[str, ...]]:
    """The values as (N, C, L), and the names of the channels."""
    if values.ndim == 2:
        return values[:, None], _named(channels, 1, values)
    count = 1 if channels is None else len(channels)
    if values.shape[2] == count:
        return values.transpose(0, 2, 1), _named(channels, count, values)
    if values.shape[1] == count:
        return values, _named(channels, count, values)
    raise InputError(
        f"X has the shape {values.shape}, in which no axis has {count} channels: {ASK}"
    )


def _lengths(
    cube: npt.NDArray[Any], names: tuple[str, ...], findings: Findings
) -> npt.NDArray[np.int64]:
    """int64 (N,), points of each trace without the padding at its end."""
    padding = np.isnan(cube).all(1)
    kinds = (KINDS.get(channel_named(name) or "", ("", ""))[0] for name in names)
    if any(kind in ("size", "direction", "time", "gap") for kind in kinds):
        padding |= (cube == 0).all(1)
    real = ~padding
    kept = np.where(real.any(1), cube.shape[2] - real[:, ::-1].argmax(1), 0)
    cut = int((kept < cube.shape[2]).sum())
    if cut:
        findings.mended.append(
            f"padding at the end of traces was cut off ({cut} of {len(cube)} traces)"
        )
    return kept.astype(np.int64)


def _check_rows(x: int, y: int) -> None:
    if x != y:
        raise InputError(f"X has {x} traces and y has {y} classes; they must be as many")


def _checked(lengths: Any, cube: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    given = np.asarray(on_host(lengths))
    if given.dtype.kind in "iuf" and given.shape == (len(cube),):
        wrong = (given < 1) | (given > cube.shape[2]) | (given != np.floor(given))
        if not wrong.any():
            return given.astype(np.int64)
        row = int(wrong.argmax())
        raise InputError(
            f"lengths: {given[row]} for trace {row}; each must be a whole number from 1 to "
            f"{cube.shape[2]}, the points of X"
        )
    raise InputError(
        f"lengths must be {len(cube)} whole numbers, one for each trace, up to {cube.shape[2]}"
    )


def _split_signs(
    cube: npt.NDArray[Any], names: tuple[str, ...], findings: Findings
) -> dict[str, npt.NDArray[Any]]:
    columns = {name: cube[:, k] for k, name in enumerate(names)}
    meanings = {channel_named(name): name for name in names}
    time = meanings.get("timestamp", "")
    times = columns.get(time)
    if times is None or "direction" in meanings or not (times < 0).any():
        return columns
    findings.mended.append(
        f"{time}: signed times were read as times and directions, + and 0 from the client"
    )
    return columns | {
        time: np.abs(times),
        "direction": np.where(np.signbit(times), -1, 1).astype(np.int8),  # -0.0 is to the client
    }
