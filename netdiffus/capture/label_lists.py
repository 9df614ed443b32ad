"""Lists of labels: CSV and its kin, and JSON, as rows with the names that we use."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv

from netdiffus.errors import InputError
from netdiffus.tables.formats.encoding import is_western
from netdiffus.tables.formats.preamble import body_of
from netdiffus.tables.report import Findings

SUFFIXES = (".csv", ".tsv", ".txt", ".json", ".jsonl", ".ndjson")
ENDS = ("src_ip", "src_port", "dst_ip", "dst_port")
CONDITIONS = (*ENDS, "protocol", "start", "end")
SNIFFED = 1 << 16  # bytes that tell encoding and separator

# What each of our columns is called elsewhere, the first found counting: Wireshark, Zeek, Argus,
# NetFlow tools, CICFlowMeter, nfstream. Compared in lower case, with _ for all that is no letter.
NAMES = {
    "label": "label labels class classes category application application_name app traffic_type "
    "attack_category attack_cat attack",
    "file": "file filename file_name path file_path pcap pcap_file capture",
    "src_ip": "src_ip source_ip srcip sourceip src_addr src_address source_address saddr srcaddr "
    "source ip_src id_orig_h src client client_ip sa sip",
    "src_port": "src_port source_port srcport sourceport sport id_orig_p l4_src_port client_port "
    "src_p sp",
    "dst_ip": "dst_ip destination_ip dest_ip dstip destinationip dst_addr dst_address "
    "destination_address daddr dstaddr destination ip_dst id_resp_h dst server server_ip da dip",
    "dst_port": "dst_port destination_port dest_port dstport destinationport dport id_resp_p "
    "l4_dst_port server_port dst_p dp",
    "protocol": "protocol proto ip_proto ip_protocol protocol_number l4_protocol pr",
    "start": "start",
    "end": "end",
    "time": "timestamp ts time start_time starttime stime first_seen flow_start first_switched",
}


@dataclass
class LabelList:
    """A list of labels.

    Attributes:
        path: Its file.
        rows: Cells that are not empty, by our names of the columns, with the line's number.
        columns: Our names of those it has.
        said: What was not used of it, and how it was read.
    """

    path: Path
    rows: list[tuple[int, dict[str, str]]]
    columns: set[str]
    said: list[str]


def read_label_list(path: Path) -> LabelList:
    """Reads a list of labels.

    Args:
        path: CSV, also with tabs, semicolons or bars, of any Unicode encoding or Windows-1252; or
            JSON: an array or lines of objects, or one object of files and their labels.

    Raises:
        InputError: It is not there or cannot be read, or has not the columns that are needed.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file of labels")
    with path.open("rb") as file:
        start = file.read(SNIFFED)
    if start.startswith(b"PK"):
        raise InputError(f"{path}: a workbook or an archive; save the labels as CSV")
    encoding = _encoding(path, start)
    text = start.decode(encoding, "ignore").lstrip("\ufeff \t\r\n")
    said = [f"{path}: read as {encoding}"] if encoding == "cp1252" else []
    if text.startswith(("{", "[")):
        names, found = _json(path, encoding)
    elif "\n#fields" in text:
        names, found = _zeek(path)
    else:
        names, found = _csv(path, encoding, text.split("\n", 1)[0])
    ours = _ours(names)
    rows = [
        (number, {name: row[theirs].strip() for name, theirs in ours.items() if row.get(theirs)})
        for number, row in found
    ]
    _check(path, names, ours)
    unused = [name.strip() for name in names if name not in ours.values()]
    if unused:
        more = f" and {len(unused) - 5} more" if len(unused) > 5 else ""
        said.append(f"{path}: columns without use here: {', '.join(unused[:5])}{more}")
    return LabelList(path, [one for one in rows if one[1]], set(ours), said)


def _encoding(path: Path, start: bytes) -> str:
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    try:
        codecs.getincrementaldecoder("utf-8")().decode(start)  # its end may be within a character
    except UnicodeDecodeError:
        return _windows(path, start)
    return "utf-8"


def _windows(path: Path, text: bytes) -> str:
    if not is_western(text):
        raise InputError(
            f"{path}: no UTF-8, and in which encoding the labels are is in doubt; save it as UTF-8"
        )
    return "cp1252"


def _csv(path: Path, encoding: str, head: str) -> tuple[list[str], Iterator[Any]]:
    separator = max(",;\t|", key=head.count)
    options: dict[str, Any] = {
        "read_options": pa.csv.ReadOptions(encoding=encoding),
        "parse_options": pa.csv.ParseOptions(delimiter=separator),
    }
    try:
        with pa.csv.open_csv(path, **options) as start:  # for the names, to read all as text
            names = start.schema.names
        wanted = list(_ours(names).values())
        convert = pa.csv.ConvertOptions(
            column_types={name: pa.string() for name in wanted}, include_columns=wanted
        )
        table = pa.csv.read_csv(path, convert_options=convert, **options) if wanted else None
    except (pa.ArrowException, UnicodeDecodeError) as error:
        if encoding == "utf-8" and "UTF8" in str(error):
            return _csv(path, _windows(path, path.read_bytes()), head)
        raise InputError(f"{path}: not a readable CSV: {error}") from None
    return names, enumerate(table.to_pylist() if table else [], 2)


def _zeek(path: Path) -> tuple[list[str], Iterator[Any]]:
    """A log of Zeek, such as those with labels of IoT-23."""
    body = body_of(pa.py_buffer(path.read_bytes()), Findings())
    lines = body.data.to_pybytes().decode("utf-8", "replace").splitlines()
    mark, missing = body.separator or "\t", ("", *body.missing)
    names, *rows = [line.split(mark) for line in lines if line]
    cells = (dict(zip(names, row, strict=False)) for row in rows)
    return names, enumerate(
        ({k: v for k, v in row.items() if v not in missing} for row in cells), 1
    )


def _json(path: Path, encoding: str) -> tuple[list[str], Iterator[Any]]:
    try:
        made = _values(path.read_text(encoding=encoding).lstrip("\ufeff"))
    except (ValueError, RecursionError) as error:  # the former where bytes are no text, too
        raise InputError(f"{path}: neither JSON nor lines of JSON: {error}") from None
    if isinstance(made, dict) and not any(isinstance(v, (dict, list)) for v in made.values()):
        is_one = len(_ours(list(made))) > 1
        made = [made] if is_one else [{"file": k, "label": v} for k, v in made.items()]
    if not isinstance(made, list) or not all(isinstance(row, dict) for row in made):
        raise InputError(f"{path}: give an array of objects, each with a label")
    names = list(dict.fromkeys(name for row in made for name in row))
    as_text = [{k: str(v) for k, v in row.items() if v is not None} for row in made]
    return names, enumerate(as_text, 1)


def _values(text: str) -> Any:
    """One value of JSON, or those of all lines."""
    try:
        return json.loads(text)
    except ValueError:
        return [json.loads(line) for line in text.splitlines() if line.strip()]


def _ours(names: list[str]) -> dict[str, str]:
    """Our names of columns, and theirs."""
    plain: dict[str, str] = {}
    for name in names:
        plain.setdefault(re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_"), name)
    found = {}
    for ours, known in NAMES.items():
        theirs = next((plain[one] for one in known.split() if one in plain), None)
        if theirs is not None:
            found[ours] = theirs
    return found


def _check(path: Path, names: list[str], ours: dict[str, str]) -> None:
    if "label" in ours and ("file" in ours or set(ours) & set(CONDITIONS)):
        return
    raise InputError(
        f"{path}: columns are {', '.join(names)}; give file,label, or label and some of "
        f"{', '.join(CONDITIONS)}"
    )
