"""Feeds readers with bytes that reach new lines: `python tests/fuzz/fuzz.py SECONDS [READER…]`.

Each reader has a process of its own. What grows goes into build/fuzz/READER/corpus, what a reader
could not bear into build/fuzz/READER/found: tracebacks, more than 5 s, more than 1 GB. Needs
atheris: `make fuzz` installs it.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
OUT = ROOT / "build" / "fuzz"
LONGEST = 65_536  # bytes of an input


def fuzz(reader: str, seconds: str) -> None:
    """Never returns."""
    import atheris

    with atheris.instrument_imports(include=["netdiffus"]):
        from guard import Guard
        from readers import warm_up

        warm_up(reader)
    found, grown = OUT / reader / "found", OUT / reader / "corpus"
    for folder in (found, grown):
        folder.mkdir(parents=True, exist_ok=True)
    guard, seen = Guard(), set()

    def one(data: bytes) -> None:
        wrong = guard(reader, data)
        place = None if wrong is None else re.sub(r"\d+", "0", wrong.splitlines()[-1])[:80]
        if wrong is not None and place not in seen:  # each kind once
            seen.add(place)
            path = found / hashlib.sha256(data).hexdigest()[:16]
            path.write_bytes(data)
            print(f"FOUND {path}\n{wrong}", flush=True)

    corpus = [str(grown), str(HERE / "corpus" / reader)]
    options = [f"-max_total_time={seconds}", f"-max_len={LONGEST}", "-print_final_stats=1"]
    # Time and memory are guarded here; those of the fuzzer are for what does not come back.
    options += ["-timeout=300", "-rss_limit_mb=6000", f"-artifact_prefix={found}/"]
    atheris.Setup([sys.argv[0], *corpus, *options], one)
    atheris.Fuzz()


def run(reader: str, seconds: str) -> bool:
    """Fuzzes in a process of its own and says how it went; whether it went well."""
    paths = [str(ROOT), str(HERE.parent), os.environ.get("PYTHONPATH", "")]
    settings = {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, __file__, "--one", reader, seconds],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=os.environ | settings,
    )
    count = re.search(r"number_of_executed_units: (\d+)", done.stdout)
    well = done.returncode == 0 and count is not None and "FOUND" not in done.stdout
    said = f"{reader}: {count[1] if count else 'no'} inputs{'' if well else ', FAILED'}"
    print(said if well else f"{said}\n{done.stdout[-20_000:]}", flush=True)
    return well


def main(seconds: str, readers: list[str]) -> int:
    """1 if a reader failed."""
    several = (os.cpu_count() or 1) + 1  # they wait for files
    with ThreadPoolExecutor(several) as pool:
        return 0 if all(list(pool.map(lambda one: run(one, seconds), readers))) else 1


if __name__ == "__main__":
    if sys.argv[1] == "--one":
        fuzz(*sys.argv[2:])
    else:
        from readers import READERS

        sys.exit(main(sys.argv[1], sys.argv[2:] or list(READERS)))
