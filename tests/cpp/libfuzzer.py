"""The capture reader under libFuzzer and sanitizers: `python tests/cpp/libfuzzer.py SECONDS`.

Needs clang++ with its runtime (Debian: clang, libclang-rt-14-dev). What grows goes into
build/fuzz/libfuzzer/corpus, what the reader could not bear into build/fuzz/libfuzzer.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
OUT = ROOT / "build" / "fuzz" / "libfuzzer"
FLAGS = ["-std=c++17", "-O1", "-g1", "-DLIBFUZZER", "-fno-sanitize-recover=all"]
FLAGS += ["-fsanitize=fuzzer,address,undefined"]
BOUNDS = ["-timeout=5", "-rss_limit_mb=1024", "-max_len=16384", "-print_final_stats=1"]


def build() -> Path:
    from test_capture_fuzz import CSRC, SOURCES

    program = OUT / "capture_fuzz"
    sources = [HERE / "capture_fuzz.cpp", *(CSRC / f"capture/{name}.cpp" for name in SOURCES)]
    folders = ["-I", str(CSRC), "-I", str(CSRC / "capture")]
    subprocess.check_call(["clang++", *FLAGS, *folders, *map(str, sources), "-o", str(program)])
    return program


def main(seconds: str) -> int:
    from test_capture_fuzz import write_seeds

    folders = [OUT / "corpus", OUT / "seeds"]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    write_seeds(folders[1])
    ends = [f"-max_total_time={seconds}", f"-artifact_prefix={OUT}/"]
    return subprocess.call([build(), *BOUNDS, *ends, *folders])


if __name__ == "__main__":
    sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent / "capture")]
    sys.exit(main(sys.argv[1]))
