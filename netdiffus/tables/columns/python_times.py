"""Times as Python and pandas print them: `datetime.datetime(2024, 1, 1, 0, 0)`."""

from __future__ import annotations

import re

import pyarrow as pa
import pyarrow.compute as pc

# A zone is left out: only differences within a trace are kept.
_ZONE = r"(?:,\s*(?:tz|tzinfo)=[^(),]*(?:\([^()]*\))?)?"
_PATTERN = re.compile(
    rf"(?:datetime\.)?datetime\((?P<date>[0-9]+(?:,\s*[0-9]+)*){_ZONE}\)"
    r"|(?:datetime\.)?timedelta\((?P<gap>0|\w+=-?[0-9]+(?:,\s*\w+=-?[0-9]+)*)?\)"
    rf"|Timestamp\('(?P<stamp>[^']*)'{_ZONE}\)"
)
_SECONDS = {"days": 86_400.0, "seconds": 1.0, "microseconds": 1e-6}


def as_texts(text: pa.Array) -> pa.Array:
    """Cells in which each such time is a date with a time of day, or a time of day."""
    if not pc.any(pc.match_substring_regex(text, r"datetime\(|timedelta\(|\btz=")).as_py():
        return text
    cells = text.to_pylist()
    plain = [None if cell is None else _PATTERN.sub(_as_text, cell) for cell in cells]
    return pa.array(plain, text.type)


def _as_text(found: re.Match[str]) -> str:
    if found["stamp"] is not None:
        return found["stamp"]
    if found["date"] is None:
        return _clock(found)
    year, month, day, *clock = [int(one) for one in found["date"].split(",")][:7]
    hour, minute, second, micro = (*clock, 0, 0, 0, 0)[:4]
    return f"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micro:06}"


def _clock(found: re.Match[str]) -> str:
    """A gap of less than a day as a time of day; others as they stand."""
    parts = dict(re.findall(r"(\w+)=(-?[0-9]+)", found["gap"] or ""))
    if not set(parts) <= set(_SECONDS):
        return found[0]
    whole = sum(int(number) * _SECONDS[unit] for unit, number in parts.items())
    if not 0 <= whole < 86_400:
        return found[0]
    minutes, seconds = divmod(round(whole * 1e6), 60_000_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{seconds / 1e6:09.6f}"
