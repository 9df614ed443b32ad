"""Readers bear the inputs that fuzzing begins with, and those that they once did not bear."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
CORPUS = HERE / "corpus"
# Of all inputs; then seeds that are refused at once would reach nothing, and a guard that sees
# nothing is none. In one process, as there are bounds for all of it and it imports for seconds.
CODE = """
import json, tempfile
from pathlib import Path
import guard
from readers import CORPUS, READERS, warm_up
for reader in READERS:
    warm_up(reader)
look = guard.Guard()
found = {reader: {} for reader in READERS}
for path in sorted(CORPUS.glob("*/*")):
    found[path.parent.name][path.name] = look(path.parent.name, path.read_bytes())
for seed in ("model/trained", "state/first", "capture/pcap", "csv/lists.csv", "npz/float",
             "parquet/plain", "arrow/packed", "labels/flows", "log/first"):
    READERS[seed.split("/")[0]]((CORPUS / seed).read_bytes(), Path(tempfile.mkdtemp()))
def bad(data, folder):
    held = bytearray(9 << 27) if data == b"large" else None
    while data == b"hang":
        pass
    if held is None:
        raise KeyError("x")
READERS["bad"] = bad
# A busy machine takes long to fill the memory.
told = []
for data, guard.SECONDS in ((b"large", 60), (b"hang", 0.5), (b"", 2)):
    told.append(look("bad", data).splitlines()[-1])
print(json.dumps([found, told]))
"""


def test_readers_bear_the_corpus_seeds_are_read_to_the_end_and_faults_are_found() -> None:
    paths = [HERE.parents[1], HERE.parent, HERE, os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths)), "OMP_NUM_THREADS": "1"},
    )
    found, told = json.loads(done.stdout)
    assert all(found.values())  # each reader has some
    assert {k: one for k, one in found.items() if any(one.values())} == {}
    assert told == [
        "took 1.1 GB",
        "guard.Hang: more than 0.5 s of processor time",
        "KeyError: 'x'",
    ]


def test_the_corpus_is_small() -> None:
    assert sum(path.stat().st_size for path in CORPUS.rglob("*") if path.is_file()) < 100_000
