"""Headers of text files: separators, what stands before them, and what is no header."""

from __future__ import annotations

import warnings
from pathlib import Path

import pandas as pd
import pytest

from netdiffus.errors import InputError, Note
from netdiffus.traces.traces import Traces

NAMES = ["label", "packet_length", "direction", "iat"]
ROWS = [["a", "[40,1500,52]", "[1,-1,1]", "[0,0.5,0.25]"], ["b", "[60,70]", "[1,-1]", "[0,0.1]"]]


def expected() -> Traces:
    return Traces.from_lists(
        {
            "packet_length": [[40, 1500, 52], [60, 70]],
            "direction": [[1, -1, 1], [1, -1]],
            "iat": [[0, 0.5, 0.25], [0, 0.1]],
        },
        ["a", "b"],
    )


def text(separator: str = ",", quote: str = '"') -> str:
    rows = [[row[0], *(quote + cell + quote for cell in row[1:])] for row in ROWS]
    return "\n".join(separator.join(cells) for cells in [NAMES, *rows]) + "\n"


def read(path: Path, written: str | bytes, **options: object) -> tuple[Traces, list[str]]:
    path.write_bytes(written if isinstance(written, bytes) else written.encode())
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        traces = Traces.load(path, **options)  # type: ignore[arg-type]
    return traces, [str(one.message) for one in said]


@pytest.mark.parametrize("separator", list(" :^~#"))
def test_rare_separators(separator: str, tmp_path: Path) -> None:
    traces, _ = read(tmp_path / "t.csv", text(separator))
    assert traces.equals(expected())


def test_columns_between_several_blanks(tmp_path: Path) -> None:
    frame = pd.DataFrame({"label": ["a", "bcd"], "value": ["1,2", "3"]})
    traces, _ = read(tmp_path / "t.txt", frame.to_string(index=False).lstrip() + "\n")
    assert traces.classes == ("a", "bcd")
    assert traces.points("value").tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("before", "note"),
    [("sep=;\n", None), ("\n\r\n", None), ("# made by x\n# and y\n", "2 lines before the header")],
    ids=["Excel", "blank", "comments"],
)
def test_what_stands_before_a_header(before: str, note: str | None, tmp_path: Path) -> None:
    traces, said = read(tmp_path / "t.csv", before + text(";" if "sep" in before else ","))
    assert traces.equals(expected())
    assert [note in one for one in said] == [True] if note else said == []


def test_a_header_may_begin_with_a_hash(tmp_path: Path) -> None:
    traces, said = read(tmp_path / "t.csv", "#" + text())
    assert traces.equals(expected())
    assert said == []


def test_lines_may_end_with_carriage_returns(tmp_path: Path) -> None:
    for end in ("\r\n", "\r"):
        assert read(tmp_path / "t.csv", text().replace("\n", end))[0].equals(expected())


def test_single_quotes(tmp_path: Path) -> None:
    assert read(tmp_path / "t.csv", text(quote="'"))[0].equals(expected())


@pytest.mark.parametrize("encoding", ["utf-32", "utf-32-le", "utf-32-be"])
def test_utf32(encoding: str, tmp_path: Path) -> None:
    assert read(tmp_path / "t.csv", text().encode(encoding))[0].equals(expected())


def test_numbers_of_rows_are_left_out(tmp_path: Path) -> None:
    pd.DataFrame(ROWS, columns=NAMES).to_csv(tmp_path / "t.csv")
    with pytest.warns(Note, match="holds the numbers of the rows"):
        traces = Traces.load(tmp_path / "t.csv")
    assert traces.equals(expected())
    assert traces.meta.column_names == []


def test_separators_at_the_ends_of_lines_make_no_column(tmp_path: Path) -> None:
    traces, _ = read(tmp_path / "t.csv", text().replace("\n", ",\n"))
    assert traces.meta.column_names == []


def test_columns_that_are_there_twice(tmp_path: Path) -> None:
    """In the tables of CICIDS2017 `Fwd Header Length` is."""
    traces, said = read(tmp_path / "t.csv", 'label,n,n,value\na,1,2,"[1]"\n')
    assert traces.meta.to_pydict() == {"n": [1], "n.1": [2]}
    assert any("'n' is there more than once" in one for one in said)
    with pytest.raises(InputError, match="'value' is there more than once"):
        read(tmp_path / "t.csv", 'label,value,value\na,"[1]","[2]"\n')


def test_a_header_that_is_repeated(tmp_path: Path) -> None:
    """As in tables of CSE-CIC-IDS2018, or of files written one behind the other."""
    header, rows = text().split("\n", 1)
    written = f"{header}\n{rows}{header}\r\n{rows}{header}\n"
    traces, said = read(tmp_path / "t.csv", written)
    assert traces.label_names.tolist() == ["a", "b", "a", "b"]
    assert any("repeat the header were left out (2)" in one for one in said)


@pytest.mark.parametrize("rows", ['a,"[1,2]","[1,-1]"\n' * 2, "1,0.5,0.6\n2,0.1,0.2\n"])
def test_a_table_without_a_header_is_refused(rows: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"first line holds values .* add a line of names"):
        read(tmp_path / "t.csv", rows)


def test_names_may_be_counted(tmp_path: Path) -> None:
    traces, _ = read(tmp_path / "t.csv", "0,1,2,label\n5,6,7,a\n", channels="value")
    assert traces.points("value").tolist() == [5, 6, 7]
