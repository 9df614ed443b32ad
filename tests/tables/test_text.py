"""CSV and its kin, against what the standard library and pandas write."""

from __future__ import annotations

import array
import bz2
import collections
import decimal
import gzip
import lzma
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from netdiffus.errors import InputError, Note
from netdiffus.tables import ReadOptions, ReadReport
from netdiffus.traces.traces import Traces

SIZES = [[60, 1500, 52], [60, 44], [60, 1400]]
DIRECTIONS = [[1, -1, 1], [1, -1], [1, -1]]
GAPS = [[0.0, 0.5, 0.25], [0.0, 0.125], [0.0, 2.0]]
LABELS = ["web", "ssh", "web"]


def expected() -> Traces:
    return Traces.from_lists({"packet_length": SIZES, "direction": DIRECTIONS, "iat": GAPS}, LABELS)


def write(path: Path, rows: list[list[str]], separator: str = ",") -> Path:
    names = ["label", "packet_length", "direction", "iat"]
    cells = [[f'"{cell}"' for cell in row] for row in rows]
    path.write_text("\n".join(separator.join(row) for row in [names, *cells]) + "\n")
    return path


def rows(form: object) -> list[list[str]]:
    """Rows whose lists are written by `form`."""
    assert callable(form)
    columns = zip(LABELS, SIZES, DIRECTIONS, GAPS, strict=True)
    return [[label, *(form(one) for one in lists)] for label, *lists in columns]


FORMS = {
    "json": str,
    "tuples": lambda one: str(tuple(one)),
    "numpy": lambda one: str(np.array(one)),
    "numpy with line breaks": lambda one: "[\n" + "\n".join(map(str, one)) + "]",
    "array": lambda one: repr(np.array(one)),
    "array of a type": lambda one: repr(np.array(one, np.float32)),
    "numpy scalars": lambda one: str(list(np.array(one, np.float64))),
    "quoted numbers": lambda one: str([str(item) for item in one]),
    "commas": lambda one: ",".join(map(str, one)),
    "spaces": lambda one: " ".join(map(str, one)),
    "bars": lambda one: "[" + "|".join(map(str, one)) + "]",
    "semicolons": lambda one: ";".join(map(str, one)),
    "sets of PostgreSQL": lambda one: "{" + ",".join(map(str, one)) + "}",
    "array of Python": lambda one: repr(array.array("d", one)),
    "deque": lambda one: repr(collections.deque(one)),
    "bytes": lambda one: repr(str(one).encode()),
    "Decimal": lambda one: repr([decimal.Decimal(str(item)) for item in one]),
    "tensor on a GPU": lambda one: f"tensor({one}, device='cuda:0')",
    "jax": lambda one: f"Array({one}, dtype=float32)",
    "R": lambda one: f"c({', '.join(map(str, one))})",
    "Julia": lambda one: f"Float64{one}",
    "comma at the end": lambda one: str(one).replace("]", ",]"),
    "blanks that do not break": lambda one: str(one).replace(" ", "\u00a0"),
    "wide commas": lambda one: str(one).replace(",", "\uff0c"),
    "minus signs": lambda one: str(one).replace("-", "\u2212"),
    "one list in a list": lambda one: str([one]),
    "columns of matrices": lambda one: str([[item] for item in one]),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
def test_usual_ways_of_writing_a_list(form: object, tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", rows(form))
    assert Traces.load(path).equals(expected())


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("name", ["t.csv", "t.CSV", "t.tsv", "t.txt"])
def test_any_separator_and_suffix(separator: str, name: str, tmp_path: Path) -> None:
    assert Traces.load(write(tmp_path / name, rows(str), separator)).equals(expected())


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_any_end_of_a_line(end: bytes, tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", rows(str), ";")
    path.write_bytes(path.read_bytes().replace(b"\n", end))
    assert Traces.load(path).equals(expected())


BLANK = [b"\n", b"\r", b"\r\r\n", b"   ", b"\xff\xfe", b"\xef\xbb\xbf", b"#a\n"]


@pytest.mark.parametrize("text", BLANK)
def test_text_without_any_row_is_refused(text: bytes, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(text)
    with pytest.raises(InputError, match="only blank lines or comments"):
        Traces.load(tmp_path / "t.csv")


@pytest.mark.parametrize("blank", [b"\r", b"\n", b"\r\n", b"\n\r"])
def test_blank_lines_above_rows_that_end_otherwise(blank: bytes, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(blank + b'label,value\na,"1 2"\r\nb,"3 4"\n')
    assert Traces.load(tmp_path / "t.csv").values[:, 0].tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_unicode_encodings(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes('label,value\nvidéo,"[1,2]"\n☃,"[3]"\n'.encode(encoding))
    assert Traces.load(path).classes == ("vidéo", "☃")


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252"])
def test_other_encodings_are_read_and_said(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes('label,value\nvidéo,"[1,2]"\n'.encode(encoding))
    with pytest.warns(Note, match="no UTF-8; it was read as .*, such as 'vidéo'"):
        assert Traces.load(path).classes == ("vidéo",)


def test_a_dash_of_windows(tmp_path: Path) -> None:
    """As in the classes of CIC-IDS2017."""
    path = tmp_path / "t.csv"
    path.write_bytes(b'label,value\nWeb Attack \x96 XSS,"[1,2]"\n')
    with pytest.warns(Note, match="Windows-1252"):
        assert Traces.load(path).classes == ("Web Attack \u2013 XSS",)


SCRIPTS = {
    "gb18030": ("微信", "视频"), "big5": ("影片", "聊天"), "cp932": ("ビデオ", "音声"),
    "euc_jp": ("ビデオ", "音声"), "euc_kr": ("영상", "채팅"), "cp1251": ("видео", "чат"),
    "koi8_r": ("видео", "чат"), "cp1253": ("βίντεο", "φωνή"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::netdiffus.errors.Note")
@pytest.mark.parametrize(("encoding", "names"), SCRIPTS.items(), ids=SCRIPTS.keys())
@pytest.mark.parametrize("suffix", ["csv", "jsonl", "arff"])
def test_other_scripts_are_asked_for(
    encoding: str, names: tuple[str, str], suffix: str, tmp_path: Path
) -> None:
    """No rule distinguishes them with certainty, so none is guessed."""
    rows = {
        "csv": 'label,value\n{},"[1,2]"\n{},"[3]"\n',
        "jsonl": '{{"label": "{}", "value": [1, 2]}}\n{{"label": "{}", "value": [3]}}\n',
        "arff": "@relation a\n@attribute label string\n@attribute value_1 numeric\n"
        "@attribute value_2 numeric\n@data\n{},1,2\n{},3,4\n",
    }
    path = tmp_path / f"t.{suffix}"
    path.write_bytes(rows[suffix].format(*names).encode(encoding))
    with pytest.raises(InputError, match=rf"--encoding .*{encoding} '?.*{names[0]}"):
        Traces.load(path)
    assert Traces.load(path, encoding=encoding).classes == names
    with pytest.raises(InputError, match="no utf-8 text; name another"):
        Traces.load(path, encoding="utf-8")


def test_an_encoding_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="encoding: 'rot13' is not known"):
        Traces.load(tmp_path / "t.csv", encoding="rot13")
    Traces.from_lists({"value": [[1]]}, ["a"]).save(tmp_path / "t.parquet")
    with pytest.raises(InputError, match="encoding is for text"):
        Traces.load(tmp_path / "t.parquet", encoding="big5")


@pytest.mark.parametrize(
    ("suffix", "pack"), [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress)]
)
def test_compressed_text(suffix: str, pack: object, tmp_path: Path) -> None:
    plain = write(tmp_path / "t.csv", rows(str))
    packed = tmp_path / f"t.csv{suffix}"
    assert callable(pack)
    packed.write_bytes(pack(plain.read_bytes()))
    assert Traces.load(packed).equals(expected())


def test_lists_that_were_shortened_in_print(tmp_path: Path) -> None:
    for cell in (str(np.arange(2000)), "[1, 2, ..., 9]", "[1, 2, … 9]"):
        with pytest.raises(InputError, match="row 0: 'value' was shortened where it was printed"):
            Traces.load(write_value(tmp_path / "t.csv", cell))


def write_value(path: Path, cell: str) -> Path:
    path.write_text(f'label,value\na,"{cell}"\n')
    return path


@pytest.mark.parametrize("words", [("out", "in"), ("UP", "DOWN"), ("->", "<-"), ("c2s", "s2c")])
def test_directions_in_words(words: tuple[str, str], tmp_path: Path) -> None:
    out, back = words
    for cell in (str([out, back, out]), f"{out}|{back}|{out}"):
        (tmp_path / "t.csv").write_text(f'label,direction\na,"{cell}"\n')
        assert Traces.load(tmp_path / "t.csv").points("direction").tolist() == [1, -1, 1]
    frame = pd.DataFrame({"flow": [1, 1], "label": "a", "dir": [out, back], "value": [1, 2]})
    traces = Traces.from_frame(frame, by="flow")
    assert traces.points("direction").tolist() == [1, -1]
    lists = pa.table({"label": ["a"], "direction": [[out, back]]})
    assert Traces.from_arrow(lists).points("direction").tolist() == [1, -1]


@pytest.mark.parametrize(
    ("name", "channel"),
    [
        ("Packet Size", "packet_length"), ("pkt_lens", "packet_length"), ("sizes", "packet_length"),
        ("dirs", "direction"), ("timestamps", "timestamp"), ("inter_arrival_times", "iat"),
    ],
)  # fmt: skip
def test_names_that_are_clear_in_tables_of_packets(name: str, channel: str, tmp_path: Path) -> None:
    for cell in ("[1, 1]", "1 1", "1|1"):
        (tmp_path / "t.csv").write_text(f"label,{name}\na,{cell!r}\n".replace("'", '"'))
        with pytest.warns(Note) if channel == "timestamp" else warnings.catch_warnings():
            traces = Traces.load(tmp_path / "t.csv")
        assert [one.name for one in traces.channels] == [channel]


def test_a_unit_in_a_name(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('label,packet_times_us\na,"[0,250000]"\n')
    assert Traces.load(tmp_path / "t.csv").points("timestamp").tolist() == [0, 0.25]


def test_channels_that_we_wrote_keep_their_names(tmp_path: Path) -> None:
    """`length` and `size` would else be the same channel."""
    table = Traces.from_lists({"size": [[1]]}, ["a"]).to_arrow()
    assert table.column_names[-1] == "packet_length"
    (tmp_path / "t.csv").write_text('label,length,note\na,"[1,2]","a 1"\nb,"[1,2]","b 2"\n')
    assert Traces.load(tmp_path / "t.csv").meta["note"].to_pylist() == ["a 1", "b 2"]


@pytest.mark.parametrize("name", ["attack_cat", "Attack", "website", "app_name", "family"])
def test_less_usual_names_of_the_class(name: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(f'{name},value\n1,"[1]"\n2,"[1]"\n')
    assert Traces.load(tmp_path / "t.csv").classes == ("1", "2")
    (tmp_path / "t.csv").write_text(f'{name},Class,value\n1,x,"[1]"\n2,y,"[1]"\n')
    assert Traces.load(tmp_path / "t.csv").classes == ("x", "y")


def test_zstd(tmp_path: Path) -> None:
    plain = write(tmp_path / "t.csv", rows(str))
    with pa.output_stream(str(tmp_path / "t.csv.zst"), compression="zstd") as out:
        out.write(plain.read_bytes())
    assert Traces.load(tmp_path / "t.csv.zst").equals(expected())


def test_what_pandas_writes(tmp_path: Path) -> None:
    frame = pd.DataFrame({"label": LABELS, "packet_length": SIZES, "iat": map(np.array, GAPS)})
    for options in ({}, {"sep": ";"}, {"sep": "\t"}, {"encoding": "utf-16"}):
        frame.to_csv(tmp_path / "t.csv", index=False, **options)
        back = Traces.load(tmp_path / "t.csv")
        assert back.equals(expected().select(["packet_length", "iat"]))


def test_decimal_commas_where_beyond_doubt(tmp_path: Path) -> None:
    def european(one: list[float]) -> str:
        return "[" + ";".join(str(item).replace(".", ",") for item in one) + "]"

    assert Traces.load(write(tmp_path / "t.csv", rows(european), ";")).equals(expected())
    for separator in (",", ";"):  # 1,500 is 1500 or 1.5
        path = tmp_path / f"{'comma' if separator == ',' else 'semicolon'}.csv"
        path.write_text(f'label{separator}value\na{separator}"[40;1,500;52]"\n')
        with pytest.raises(InputError, match=r"row 0: 'value' .*\[40;1,500;52\]"):
            Traces.load(path)


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("[40, None, 52]", r"row 1: 'packet_length' has a missing number: '\[40, None, 52\]'"),
        ("[40, , 52]", "row 1: 'packet_length' has a missing number"),
        ("[40, x]", r"row 1: 'packet_length' is not a list of numbers .*'\[40, x\]'"),
        ("[40", r"row 1: 'packet_length' is not one list .*'\[40'"),
        ("", "row 1: 'packet_length' is not a list"),
        ("tcp", "row 1: 'packet_length' is not a list of numbers .*'tcp'"),
        ("[[1], [2]]", "row 1: 'packet_length' is not one list"),
        ("[nan, 40]", "packet_length is nan at point 0 of trace 1"),
        ("[123456789012345678901]", "row 1: 'packet_length' has a whole number of more than 64"),
        ("[9007199254740993]", "'packet_length' has 9007199254740993 in row 1 at point 0"),
    ],
)
def test_cells_that_are_no_lists_are_named(cell: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(f'label,packet_length\na,"[1,2]"\nb,"{cell}"\n')
    with pytest.raises(InputError, match=message):
        Traces.load(path)


@pytest.mark.parametrize(
    "times",
    [
        "['2024-01-01T00:00:00', '2024-01-01T00:00:01.5']",
        "[2024-01-01 00:00:00|2024-01-01 00:00:01.5]",
        "[2024-01-01T00:00:00Z, 2024-01-01T00:00:01.500Z]",
        "[2024-01-01T01:00:00+01:00, 2024-01-01T00:00:01.5+00:00]",
    ],
)
def test_iso_times_count_from_the_first(times: str, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(f'label,timestamp\na,"{times}"\n')
    with pytest.warns(Note, match="did not start at 0"):
        assert Traces.load(path).points("timestamp").tolist() == [0, 1.5]


@pytest.mark.parametrize(
    "cell", ["[sic] a note", "[10.0.0.1, 10.0.0.2]", "[2001:db8::1]", "1 2", "(5)"]
)
def test_text_of_no_channel_stays_text(cell: str, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(f'label,value,note\na,"[1]","{cell}"\n')
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        assert Traces.load(path).meta["note"].to_pylist() == [cell]
    assert all("'note' was kept as text" in str(one.message) for one in said)


def report_of(path: Path, **options: object) -> ReadReport:
    return Traces.load_with_report(path, ReadOptions(**options))[1]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "name", ["label", "Label", " Label", "LABEL", "class", "class1", "app", "application_name"]
)
def test_the_label_column_is_found(name: str, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(f'{name},value\n007,"[1]"\n')
    report = report_of(path)
    assert (report.label, report.classes) == (name.strip(), {"007": 1})


def test_a_label_column_that_is_not_found_or_not_sure(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text('kind,value\n01,"[1]"\n')
    with pytest.raises(InputError, match=r"no column 'label'; columns: kind.*--label-column"):
        Traces.load(path)
    assert Traces.load(path, label_column="kind").classes == ("01",)
    assert Traces.load(path, columns={"kind": "label"}).classes == ("01",)
    path.write_text('app,category,value\nx,y,"[1]"\n')
    with pytest.raises(InputError, match="'app' and 'category' could each be the class"):
        Traces.load(path)
    with pytest.raises(InputError, match="no column 'no'; columns: app, category, value"):
        Traces.load(path, label_column="no")


def test_a_wide_table_needs_the_name_of_its_channel(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("label,t0,t1,t2\na,1,2,3\nb,4,5,6\n")
    with pytest.raises(InputError, match=r"points of one series, name it.*--channels value"):
        Traces.load(path)
    with pytest.warns(Note, match="'t0' to 't2' were read as the points of one series"):
        traces = Traces.load(path, channels="value")
    assert traces.points("value").tolist() == [1, 2, 3, 4, 5, 6]
    path.write_text("label,t0,t1,t2\na,1,2,3\nb,4,5,\n")
    with pytest.warns(Note) as said:
        assert Traces.load(path, channels="value").lengths.tolist() == [3, 2]
    assert any("padding at the end of traces was cut off (1 of 2" in str(s.message) for s in said)


def test_arff(tmp_path: Path) -> None:
    path = tmp_path / "t.arff"
    path.write_text(
        "@relation flows\n% a comment\n@attribute duration numeric\n@attribute class1 {VPN,NO}\n"
        "@data\n3,VPN\n4,NO\n"
    )
    traces = Traces.load(path, channels="duration")
    assert (traces.classes, traces.points(0).tolist()) == (("NO", "VPN"), [3, 4])


def test_many_columns_cost_no_more_each(tmp_path: Path) -> None:
    """What grows faster than their number takes minutes here."""
    path = tmp_path / "t.csv"
    names = [f"c{k}" for k in range(3_000)]
    row = ",".join(["[1|2]"] * len(names))
    path.write_text("label," + ",".join(names) + "\n" + f"a,{row}\n" * 2)
    assert len(Traces.load(path).channels) == 3_000
