"""Readers bear the inputs that fuzzing begins with, and those that they once did not bear."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
CORPUS = HERE / "corpus"
CODE = """
import json
from guard import Guard
from readers import CORPUS, READERS
guard = Guard()
found = {reader: {} for reader in READERS}
for path in sorted(CORPUS.glob("*/*")):
    found[path.parent.name][path.name] = guard(path.parent.name, path.read_bytes())
print(json.dumps(found))
"""
# Seeds that are refused at once would reach nothing; a guard that sees nothing is none.
CHECK = """
import tempfile, warnings
from pathlib import Path
import guard, readers
warnings.simplefilter("ignore")
for seed in ("model/trained", "state/first", "capture/pcap", "csv/lists.csv", "npz/float",
             "parquet/plain", "arrow/packed", "labels/flows", "log/first"):
    read = readers.READERS[seed.split("/")[0]]
    read((readers.CORPUS / seed).read_bytes(), Path(tempfile.mkdtemp()))
def bad(data, folder):
    held = bytearray(3 << 29) if data == b"large" else None
    while data == b"hang":
        pass
    if held is None:
        raise KeyError("x")
readers.READERS["bad"] = bad
look = guard.Guard()
# A busy machine takes long to fill the memory.
for data, guard.SECONDS in ((b"large", 60), (b"hang", 2), (b"", 2)):
    print(look("bad", data).splitlines()[-1])
"""


def run(code: str) -> str:
    """In a process of its own, as there are bounds for all of it."""
    paths = [HERE.parents[1], HERE.parent, HERE, os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths)), "OMP_NUM_THREADS": "1"},
    )
    return done.stdout


def test_readers_bear_the_corpus() -> None:
    found = json.loads(run(CODE))
    assert all(found.values())  # each reader has some
    assert {k: one for k, one in found.items() if any(one.values())} == {}


def test_seeds_are_read_to_the_end_and_faults_are_found() -> None:
    assert run(CHECK).splitlines() == [
        "took 1.5 GB",
        "guard.Hang: more than 2 s of processor time",
        "KeyError: 'x'",
    ]


def test_the_corpus_is_small() -> None:
    assert sum(path.stat().st_size for path in CORPUS.rglob("*") if path.is_file()) < 100_000
