"""Text cells of a CSV file that hold lists: `[1, 2]`, `[1 2]`, `(1;2)`, `array([1., 2.])`."""

from __future__ import annotations

import ast
import json
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json

from netdiffus.arrays import Ints
from netdiffus.errors import InputError
from netdiffus.tables.columns import python_times
from netdiffus.tables.columns.arrow import one_array
from netdiffus.tables.columns.directions import from_words
from netdiffus.tables.columns.names import channel_named

# What looks like a list of numbers or times, in brackets; nested ones have exactly two levels.
_PART = (
    r"(?:[-+0-9.eE,;|\s'\"()]|nan|NaN|inf|None|null|[Tt]rue|[Ff]alse|[A-Za-z_.]+[0-9]*\(|[0-9]T|:)*"
)
# What Python, NumPy, torch and Julia write before a list: deque(, array('i', Int64
_BEFORE = r"(?:[A-Za-z_.]+\(\s*(?:'\w'\s*,\s*)?|[A-Z]\w*)?\s*"
_AFTER = r"\s*(?:,\s*\w+=[^()]*)*\)?\s*$"  # dtype=float32, device='cuda:0'
_LIST = (
    rf"^\s*{_BEFORE}\[" + _PART
    + r"(?:[0-9]\s|[0-9]['\",;|.)\]eE]|nan|NaN|None|null|[Tt]rue|[Ff]alse)" + _PART
    + r"\]?" + _AFTER
    + r"|^\s*\{[-+0-9.eE,;\s]*[0-9][-+0-9.eE,;\s]*\}\s*$"
)  # fmt: skip
_ONE_LIST = r"^\[[^\[\](){}]*\]$|^\([^\[\](){}]*\)$|^[^\[\](){}]+$"
_NESTED = r"^\s*[\[(]\s*(?:[\[(][-+0-9.eE,;|\s]*[\])]\s*,?\s*)+[\])]\s*$"
_NUMBER = r"^[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?$|^[-+]?(?i:nan|inf|infinity)$"
_TIME = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T ][0-9:]+(?:\.[0-9]*)?(?:Z|[-+][0-9:]+)?)?$"
_DATE = (
    r"^\s*[0-9]{1,4}[-/.][0-9]{1,2}[-/.][0-9]{1,4}"
    r"(?:[T ]+[0-9]{1,2}:[0-9]{2}(?::[0-9]{2}(?:[.,][0-9]+)?)?)?"
    r"\s*(?:[AaPp][Mm]|Z|[-+][0-9:]+)?\s*$"
)
_RECORDS = r"""(?s)^\s*(?:\[\s*)?\{\s*["'].*\}\s*\]?\s*$"""
_MISSING = ("", "None", "null", "NA", "NULL", "<NA>")
_CLOCK = r"^[0-9]{1,2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]*)?$"
_SEPARATORS = ("|", ";", ",", " ")
_DECIMAL = r"[-+]?[0-9]+(?:,[0-9]+)?(?:[eE][-+]?[0-9]+)?"
_RARE = ("/", "_")  # separators where there is none of the usual ones


def looks_like_lists(column: pa.ChunkedArray) -> bool:
    """Whether a cell of a text column looks like a list of numbers; then all must be lists."""
    return bool(pc.any(pc.match_substring_regex(column, f"{_LIST}|{_NESTED}")).as_py())


def are_dates(column: pa.ChunkedArray) -> bool:
    """Whether each cell of a text column is one date, with or without a time of day."""
    return bool(pc.all(pc.match_substring_regex(column, _DATE)).as_py())


def parse(name: str, column: pa.ChunkedArray, *, decimal_comma: bool = False) -> pa.Array:
    """A text column as lists of int64, double, bool or timestamps, or as lists of lists.

    Args:
        name: The column's name, for errors.
        column: Text; each cell is a list in one of the usual ways of writing, with or without
            brackets.
        decimal_comma: Whether `0,5` may be a half, in lists that `;`, `|` or blanks separate.

    Raises:
        InputError: Names the column, the row and the cell that is no list.
    """
    text = python_times.as_texts(_plain_signs(one_array(column).cast(pa.large_string())))
    _refuse(name, text, pc.is_null(text), "is empty")
    if pc.all(pc.match_substring_regex(text, _NESTED)).as_py():
        return _nested(name, text)
    _refuse(name, text, pc.equal(pc.utf8_trim_whitespace(text), ""), "is not a list")
    bare = _without_types(text)
    good = pc.match_substring_regex(bare, _ONE_LIST)
    _refuse(name, text, pc.invert(good), "is not one list like [1, 2, 3]")
    bare = pc.utf8_trim_whitespace(pc.utf8_trim(bare, "[]()"))
    separator = _separator(bare, decimal_comma)
    return _lists(name, text, bare, separator, decimal_comma and separator in "|; ")


def packets(column: pa.ChunkedArray) -> pa.Array | None:
    """A column of texts that are lists of packets, or packets of lists, with named values.

    As JSON or Python writes them, such as `[{"size": 40, "dir": 1}]` or `{'size': [40, 1500]}`.
    None where it is none, or no name is that of a channel.
    """
    if not pc.all(pc.match_substring_regex(column, _RECORDS)).as_py():
        return None
    try:
        found = pa.array([_record(one) for one in column.to_pylist()])
    except (ValueError, SyntaxError, RecursionError, MemoryError, pa.ArrowException):
        return None
    kind = found.type.value_type if pa.types.is_list(found.type) else found.type
    if not pa.types.is_struct(kind):
        return None
    lists = kind is not found.type or any(pa.types.is_list(one.type) for one in kind)
    return found if lists and any(channel_named(one.name) for one in kind) else None


def _record(cell: str) -> object:
    try:
        return json.loads(cell)
    except ValueError:
        return ast.literal_eval(cell)


def with_decimals(column: pa.ChunkedArray) -> pa.ChunkedArray | pa.Array:
    """A column of texts that are single numbers, some with a decimal comma, as numbers."""
    text = pc.utf8_trim_whitespace(one_array(column).cast(pa.large_string()))
    if not pc.any(pc.match_substring(text, ",")).as_py():
        return column
    try:
        return _with_points(pc.if_else(pc.equal(text, ""), None, text)).cast(pa.float64())
    except pa.ArrowInvalid:
        return column


def items(name: str, column: pa.Array, lengths: Ints) -> pa.Array:
    """Cells of single numbers, times or directions, so many of each trace.

    Raises:
        InputError: One is empty, or none of these.
    """
    text = _plain_signs(column.cast(pa.large_string()))
    _refuse(name, text, pc.is_null(text), "is empty")
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return _typed(_Column(name, text, offsets), _without_types(text))


def _plain_signs(text: pa.Array) -> pa.Array:
    """Cells with plain blanks, commas and minus signs."""
    for sign, plain in (("\u00a0", " "), ("\uff0c", ","), ("\u2212", "-")):
        if pc.any(pc.match_substring(text, sign)).as_py():
            text = pc.replace_substring(text, sign, plain)
    return text


def _without_types(text: pa.Array) -> pa.Array:
    """Cells without quotes, and without a language's words for a list and a number."""
    for sign, pattern, plain in (
        # np.int64(1), Decimal('1'), Timestamp('2024-01-01 00:00:00')
        ("(", r"[A-Za-z_][\w.]*\(([^()\[\],;|]*)\)", r"\1"),
        (" days ", r"\b0 days ", ""),  # Timedelta('0 days 00:00:00.5')
        ("(", rf"^\s*[A-Za-z_.]+\(\s*(?:'\w'\s*,\s*)?([^()]*?){_AFTER}", r"\1"),
        ("b'", r"^\s*b'(.*)'\s*$", r"\1"),
        ('b"', r'^\s*b"(.*)"\s*$', r"\1"),
        ("[", r"^\s*[A-Z]\w*\[", "["),
        ("{", r"^\s*\{([^:{}]*)\}\s*$", r"[\1]"),
        (",", r",\s*([\])])", r"\1"),
        ("'", "'", ""),
        ('"', '"', ""),
    ):
        if pc.any(pc.match_substring(text, sign)).as_py():
            text = pc.replace_substring_regex(text, pattern, plain)
    return pc.utf8_trim_whitespace(text)


def _separator(bare: pa.Array, decimal_comma: bool) -> str:
    """What stands between the items: the first that is there of | ; , and white space."""
    if decimal_comma and _are_decimals(bare):
        return " "
    for separator in _SEPARATORS[:-1]:
        if pc.any(pc.match_substring(bare, separator)).as_py():
            return separator
    for separator in _RARE:
        whole = rf"^[-+.0-9eE]+(?:{separator}[-+.0-9eE]+)*$"
        if pc.all(pc.match_substring_regex(bare, whole)).as_py() and (
            pc.any(pc.match_substring(bare, separator)).as_py()
        ):
            return separator
    return " "


def _are_decimals(bare: pa.Array) -> bool:
    """Whether blanks stand between numbers with decimal commas: `0 0,02 0,05`."""
    return bool(
        pc.all(pc.match_substring_regex(bare, rf"^{_DECIMAL}(?:\s+{_DECIMAL})*$")).as_py()
        and pc.any(pc.match_substring_regex(bare, r"\s")).as_py()
        and pc.any(pc.match_substring(bare, ",")).as_py()
    )


def _lists(
    name: str, text: pa.Array, bare: pa.Array, separator: str, decimal_comma: bool
) -> pa.Array:
    if separator != " " and pc.all(pc.ends_with(bare, separator)).as_py():
        bare = pc.utf8_slice_codeunits(bare, 0, -1)
    spaces = pc.any(pc.match_substring_regex(bare, r"\s")).as_py()
    if separator == " ":
        split = pc.split_pattern_regex(bare, r"\s+")
    else:
        split = pc.split_pattern(bare, separator)
    items = split.flatten()
    if spaces and separator != " ":
        items = pc.utf8_trim_whitespace(items)
    counts = pc.list_value_length(split).to_numpy(zero_copy_only=False).astype(np.int64)
    empty = pc.equal(bare, "").to_numpy(zero_copy_only=False)
    if empty.any():  # it splits into one empty text: an empty list
        items = items.filter(pa.array(~np.repeat(empty, counts)))
        counts[empty] = 0
    if decimal_comma:
        items = _with_points(items)
    offsets = np.concatenate([[0], np.cumsum(counts)])
    return pa.LargeListArray.from_arrays(offsets, _typed(_Column(name, text, offsets), items))


def _with_points(items: pa.Array) -> pa.Array:
    """Decimal commas as points; left alone where they may separate thousands."""
    comma = pc.match_substring_regex(items, r"^[-+]?[0-9]*,[0-9]+(?:[eE][-+]?[0-9]+)?$")
    thousands = pc.match_substring_regex(items, r"^[-+]?[1-9][0-9]{0,2},[0-9]{3}$")
    if not pc.any(comma).as_py() or pc.any(pc.match_substring(items, ".")).as_py():
        return items
    if pc.all(pc.equal(comma, thousands)).as_py():
        return items
    return pc.replace_substring(items, ",", ".")


def _typed(column: _Column, items: pa.Array) -> pa.Array:
    """Items as numbers, times or truth values."""
    if pc.any(pc.starts_with(items, "+")).as_py():
        items = pc.replace_substring_regex(items, r"^\+([0-9.])", r"\1")
    for kind in (pa.int64(), pa.float64()):
        try:
            return _checked(column, items, items.cast(kind))
        except pa.ArrowInvalid:
            continue
    missing = pc.is_in(items, pa.array(_MISSING, items.type))
    column.refuse(missing, "has a missing number")
    if pc.all(pc.match_substring_regex(items, _CLOCK)).as_py():
        items = pc.replace_substring_regex(items, r"^([0-9]):", r"0\1:")
        items = pc.replace_substring_regex(items, "^", "1970-01-01 ")
        times = _times(column, items)
        is_clock = channel_named(column.name) == "timestamp"  # a gap may be of hours
        return _past_midnight(column, times) if is_clock else times
    if pc.all(pc.match_substring_regex(items, _TIME)).as_py():
        return _times(column, items)
    if pc.all(pc.match_substring_regex(items, "^(?i:true|false)$")).as_py():
        return pc.utf8_lower(items).cast(pa.bool_())
    words = from_words(items)
    if words is not None:
        return words
    cut = pc.match_substring_regex(items, r"\.\.\.|…")
    column.refuse(cut, "was shortened where it was printed; write the table with whole lists")
    wrong = pc.invert(pc.match_substring_regex(items, _NUMBER))
    column.refuse(wrong, "is not a list of numbers like [1, 2, 3]")
    return items.cast(pa.float64())


def _checked(column: _Column, items: pa.Array, numbers: pa.Array) -> pa.Array:
    """The numbers, if double has not rounded whole numbers of more than 64 bits."""
    if pa.types.is_floating(numbers.type):
        large = pc.greater_equal(pc.abs(numbers), 2.0**63)
        if pc.any(large).as_py():
            digits = pc.match_substring_regex(items, "^[-+]?[0-9]{19,}$")
            column.refuse(digits, "has a whole number of more than 64 bits")
    return numbers


def _past_midnight(column: _Column, times: pa.Array) -> pa.Array:
    """Times of day on the next day, where they fall back by more than half a day in a row."""
    day = 86_400 * 10**9
    values = times.cast(pa.int64()).to_numpy()
    later = np.diff(values, prepend=values[:1]) < -day // 2
    days = np.cumsum(later) * day
    starts = np.repeat(column.offsets[:-1], np.diff(column.offsets))
    later_since = days - days[starts]  # the first of a row is on its first day
    return pa.array(values + later_since).cast(times.type)


def _times(column: _Column, items: pa.Array) -> pa.Array:
    with_zone = pc.any(pc.match_substring_regex(items, r"Z$|:[0-9.]+[-+][0-9:]+$")).as_py()
    try:
        if not with_zone:
            return items.cast(pa.timestamp("ns"))
        return items.cast(pa.timestamp("ns", "UTC")).cast(pa.timestamp("ns"))
    except pa.ArrowInvalid as error:
        raise InputError(f"column {column.name!r} has times that cannot be read: {error}") from None


def _nested(name: str, text: pa.Array) -> pa.Array:
    """Lists of lists, read as JSON."""
    text = pc.replace_substring_regex(text, r"\(", "[")
    text = pc.replace_substring_regex(text, r"\)", "]")
    text = pc.replace_substring_regex(text, r"[;|]", ",")
    text = pc.replace_substring_regex(text, r"\s*\]", "]")
    text = pc.replace_substring_regex(text, r"\[\s+", "[")
    text = pc.replace_substring_regex(text, r"\s*,\s*", ",")
    text = pc.replace_substring_regex(text, r"\s+", ",")
    text = pc.replace_substring_regex(text, r",\]", "]")
    text = pc.replace_substring_regex(text, r"([0-9])\.([,\]])", r"\1.0\2")  # NumPy's "0."
    lines = pc.binary_join_element_wise(
        pa.scalar('{"c":', text.type), text, pa.scalar("}", text.type), pa.scalar("", text.type)
    )
    joined = "\n".join(lines.to_pylist()).encode()
    options = pa.json.ReadOptions(block_size=min(len(joined) + 1, 2**31 - 1))
    try:
        return pa.json.read_json(pa.BufferReader(joined), read_options=options)["c"]
    except pa.ArrowInvalid as error:
        raise InputError(f"column {name!r}: lists of lists that cannot be read: {error}") from None


@dataclass(frozen=True)
class _Column:
    """A column of text, and where the items of each row begin."""

    name: str
    text: pa.Array
    offsets: Ints

    def refuse(self, wrong: pa.Array, what: str) -> None:
        """Raises InputError at the first item that is wrong."""
        if pc.any(wrong).as_py():
            item = pc.index(wrong, True).as_py()
            row = int(np.searchsorted(self.offsets, item, side="right")) - 1
            raise InputError(_sentence(self.name, self.text, row, what))


def _refuse(name: str, text: pa.Array, wrong: pa.Array, what: str) -> None:
    if pc.any(wrong).as_py():
        raise InputError(_sentence(name, text, pc.index(wrong, True).as_py(), what))


def _sentence(name: str, text: pa.Array, row: int, what: str) -> str:
    cell = text[row].as_py() or ""
    shown = repr(cell) if len(cell) <= 80 else repr(cell[:77]) + "…"
    return f"row {row}: {name!r} {what}: {shown}. Mend the cell, or remove the row"
