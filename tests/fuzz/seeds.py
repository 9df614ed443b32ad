"""Makes the files that fuzzing begins with; run it with the root and tests/ in PYTHONPATH.

They are committed, so that every run begins with the same bytes; those that a run found stay.
"""

from __future__ import annotations

import io
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
from readers import CONFIG, CORPUS, STATE, WEIGHTS
from small import packets

from netdiffus import Recipe, TokenCodec, train, write_capture


def put(reader: str, name: str, data: bytes | str) -> None:
    path = CORPUS / reader / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)


def texts() -> None:
    put(
        "csv",
        "lists.csv",
        'label,packet_length,timestamp\na,"[1, 2]","[0.0, 0.5]"\nb,"[3]","[0]"\n',
    )
    put("csv", "wide.csv", "label;p0;p1;p2\na;1;2;3\nb;4;5;\nc;7,5;8;9\n")
    put("csv", "spaces.tsv", 'class\tdirection\tsizes\n"x y"\t1 -1 1\t40 52 40\nz\t-1\t9\n')
    put("csv", "utf16.csv", "label,iat\né,1 2\nb,3\n".encode("utf-16"))
    rows = "flow,label,timestamp_us,packet_length,direction\n1,a,0,40,1\n1,a,9,52,-1\n2,b,3,9,1\n"
    put("packets", "rows.csv", rows)
    put("packets", "rows2.csv", "flow|class|ts|size\nx|a|2026-01-01T00:00:00|1\ny|b|1e9|2\n")
    put("json", "lines", '{"label":"a","packet_length":[1,2]}\n{"label":"b","packet_length":[3]}\n')
    put("json", "array", '[{"label": "a", "value": [1.5, null]}, {"label": 2, "value": [3]}]')
    put("json", "nested", '{"app":"a","ppi":{"sizes":[1,2],"directions":[1,-1],"times":[0,0.5]}}\n')
    head = "@relation t\n@attribute p0 numeric\n@attribute class {a,b}\n@data\n"
    put("arff", "dense", head + "1,a\n2,b\n%\n")
    put("arff", "sparse", head + "{0 5, 1 b}\n")
    put("labels", "flows", "src_ip,src_port,dst_ip,dst_port,protocol,label\n::1,1,10.0.0.1,2,6,a\n")
    put("labels", "files", "file\tclass\na.pcap\tweb\n*.pcap\tvoip\n")
    put("labels", "json", '{"a.pcap": "web", "b.pcap": {"label": "x"}}')
    put("labels", "lines", '{"file": "a.pcap", "app": "web", "ts": 1.5}\n')


def tables() -> None:
    table = packets(6, 4).to_arrow()
    for name, packer in (("plain", "none"), ("packed", "zstd")):
        out = io.BytesIO()
        pa.parquet.write_table(table, out, compression=packer)
        put("parquet", name, out.getvalue())
        out = io.BytesIO()
        pa.feather.write_feather(table, out, "lz4" if packer == "zstd" else "uncompressed")
        put("arrow", name, out.getvalue())


def arrays() -> None:
    def bytes_of(array: object) -> bytes:
        out = io.BytesIO()
        np.save(out, array)
        return out.getvalue()

    forms = {
        "float": np.arange(12.0).reshape(4, 3),
        "int": np.arange(24, dtype=np.int16).reshape(4, 1, 6),
        "struct": np.zeros(4, [("packet_length", "i4", 3), ("label", "U3")]),
    }
    for name, array in forms.items():
        put("npz", name, bytes_of(array))
        put("npy", name, bytes_of(array))
    out = io.BytesIO()
    np.savez(out, values=np.ones((2, 3)), lengths=np.array([3, 2]), labels=np.array([0, 1]))
    put("npz", "whole", out.getvalue())


def models() -> None:
    with TemporaryDirectory() as place:
        folder = Path(place, "m")
        recipe = Recipe(steps=1, batch_size=4)
        train(packets(12), folder, recipe=recipe, codec=TokenCodec(), width=4)
        read = {name: (folder / name).read_bytes() for name in (CONFIG, WEIGHTS, STATE)}
    put("model", "trained", read[CONFIG] + b"\0" + read[WEIGHTS])
    put("state", "first", read[STATE])
    put("log", "first", '{"step": 1, "seconds": 0.1, "loss": 2.5, "validation_loss": 3}\n{"st')


def captures() -> None:
    with TemporaryDirectory() as place:
        for suffix in ("pcap", "pcapng"):
            path = Path(place, f"x.{suffix}")
            write_capture(packets(3, 4), path, small="raise", force=True)
            put("capture", suffix, path.read_bytes())


if __name__ == "__main__":
    for make in (texts, tables, arrays, models, captures):
        make()
