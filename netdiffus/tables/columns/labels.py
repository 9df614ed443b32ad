"""The column of the classes: found by name, and its cells as names of classes."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from netdiffus.arrays import Ints
from netdiffus.errors import InputError
from netdiffus.tables.columns.arrow import is_text, one_array
from netdiffus.tables.columns.names import LABELS, LESS_USUAL_LABELS, RARE_LABELS, plain

_NO_CLASS = ("", "nan", "NaN")  # as pandas and NumPy write what is missing
USUAL = (LABELS, LESS_USUAL_LABELS, RARE_LABELS)


def find_label(names: list[str], chosen: str | None) -> str:
    """The column of the classes.

    Raises:
        InputError: There is none, or more than one could be it.
    """
    if chosen is not None:
        if chosen.strip() not in names:
            raise InputError(f"no column {chosen!r}; columns: {shown(names)}")
        return chosen.strip()
    if "label" in names:
        return "label"
    same = [name for name in names if name.strip().lower() == "label"]
    found = same or next(filter(None, (_of(names, usual) for usual in USUAL)), [])
    if len(found) == 1:
        return found[0]
    if not found:
        raise InputError(
            f"no column 'label'; columns: {shown(names)}. Add one that names the class of each "
            "trace, or say which does: label_column=… (--label-column); =NAME is one class of all, "
            "file the name of the file"
        )
    raise InputError(
        f"columns {' and '.join(map(repr, found))} could each be the class; say which is: "
        "label_column=… (--label-column)"
    )


def _of(names: list[str], usual: tuple[str, ...]) -> list[str]:
    return [name for name in names if plain(name) in usual]


def shown(names: list[str], most: int = 30) -> str:
    """The names, or the first of many."""
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest


def is_missing(one: object) -> bool:
    """Whether it says that there is no class, in Python or pandas."""
    return one is None or type(one).__name__ in ("NAType", "NaTType")


def class_of(one: object) -> str | None:
    """The name of a class that is given as anything; None where there is none."""
    if is_missing(one):
        return None
    return one.decode(errors="backslashreplace") if isinstance(one, bytes) else str(one)


def encode_labels(name: str, column: pa.ChunkedArray) -> tuple[Ints, tuple[str, ...]]:
    """Index of each row's class, and the names of the classes in order.

    Whole numbers are the same class however they are written: 0 and 0.0 are.

    Raises:
        InputError: A cell is empty, or holds no text, number or truth value.
    """
    text = _as_text(name, column)
    missing = pc.is_in(
        pc.utf8_trim_whitespace(pc.fill_null(text, "")), pa.array(_NO_CLASS, text.type)
    )
    if pc.any(missing).as_py():
        row = pc.index(missing, True).as_py()
        raise InputError(f"column {name!r} is empty in row {row}; name its class or remove the row")
    encoded = text.dictionary_encode()
    classes, order = np.unique(
        np.array([str(one) for one in encoded.dictionary.to_pylist()], np.str_),
        return_inverse=True,
    )
    codes = encoded.indices.to_numpy(zero_copy_only=False)
    return order[codes].astype(np.int64), tuple(str(one) for one in classes)


def _as_text(name: str, column: pa.ChunkedArray) -> pa.Array:
    array = one_array(column)
    kind = array.type
    if pa.types.is_dictionary(kind):
        array, kind = array.dictionary_decode(), kind.value_type
    if pa.types.is_floating(kind):
        return _whole_floats(array)
    if pa.types.is_boolean(kind):
        return pc.if_else(array, "True", "False")
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        array, kind = _utf8(name, array), pa.string()
    if pa.types.is_integer(kind):
        return array.cast(pa.string())
    if is_text(kind) or pa.types.is_string_view(kind):
        return _whole_texts(array.cast(pa.large_string()))
    raise InputError(
        f"column {name!r} holds {kind}; a class is a text or a number: choose another column "
        "(--label-column)"
    )


def _utf8(name: str, array: pa.Array) -> pa.Array:
    """Bytes as text."""
    try:
        return array.cast(pa.string())
    except pa.ArrowInvalid:
        raise InputError(
            f"column {name!r} holds bytes that are no text in UTF-8; a class is a text or a "
            "number: choose another column (--label-column)"
        ) from None


def _whole_floats(array: pa.Array) -> pa.Array:
    """Floats as text, without `.0` where all are whole; NaN is an empty cell."""
    array = pc.if_else(pc.is_nan(array), None, array)
    whole = pc.all(pc.equal(pc.floor(array), array)).as_py()
    within = pc.all(pc.less_equal(pc.abs(array), 2.0**53)).as_py()
    return array.cast(pa.int64() if whole and within else pa.float64()).cast(pa.string())


def _whole_texts(array: pa.Array) -> pa.Array:
    """Texts, without `.0` where all are whole numbers written so."""
    if pc.all(pc.match_substring_regex(array, r"^-?[0-9]{1,15}\.0$")).as_py():
        return pc.replace_substring_regex(array, r"\.0$", "")
    return array


def alike(classes: Sequence[str]) -> str:
    """A sentence on classes that differ only in capitals, white space or Unicode's forms."""
    same: dict[str, list[str]] = {}
    for name in classes:
        plain_name = unicodedata.normalize("NFKC", name).strip().casefold()
        same.setdefault(plain_name, []).append(name)
    twins = [names for names in same.values() if len(names) > 1]
    if not twins:
        return ""
    which = " and ".join(map(ascii, twins[0]))
    more = f", and {len(twins) - 1} more such" if len(twins) > 1 else ""
    return (
        f"classes {which} are two, but differ only in capitals, blanks or the form of letters"
        f"{more}; if they are one, write them alike"
    )
