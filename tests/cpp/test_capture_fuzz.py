"""The capture reader under sanitizers, fed with damaged captures."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
CSRC = HERE.parents[1] / "csrc"
sys.path.insert(0, str(HERE.parent))
COMPILER = os.environ.get("CXX", "g++")
FLAGS = ["-std=c++17", "-O1", "-g1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
SOURCES = ("container", "headers", "link_names", "reader", "sorter", "traces", "tunnels")

pytestmark = pytest.mark.skipif(not shutil.which(COMPILER), reason=f"no C++ compiler {COMPILER}")


def compiled(folder: Path, source: Path, *flags: str) -> Path:
    target = folder / f"{source.stem}.o"
    command = [COMPILER, *FLAGS, *flags, "-I", str(CSRC), "-I", str(CSRC / "capture")]
    subprocess.check_call([*command, "-c", str(source), "-o", str(target)])
    return target


def reader_part(folder: Path, source: Path) -> Path:
    return compiled(folder, source, "-fsanitize-coverage=trace-pc")


def linked(folder: Path, objects: dict[str, Path]) -> Path:
    program = folder / "fuzz"
    subprocess.check_call([COMPILER, *FLAGS, *map(str, objects.values()), "-o", str(program)])
    return program


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("objects")
    parts = {name: reader_part(folder, CSRC / f"capture/{name}.cpp") for name in SOURCES}
    return parts | {"main": compiled(folder, HERE / "capture_fuzz.cpp")}


def write_seeds(folder: Path) -> Path:
    """A small capture of every container, link type, tunnel and kind of damage."""
    from captures import START, Record, conversation, ethernet, pcap
    from test_finding import BAD, FILES, FOLLOWING, LINKS, SMALL, SNOOP, TUNNELS, damage

    made = [data for name, data in FILES.items() if name not in ("gzip", "zstd")]
    longer = damage(SMALL["pcapng"], 80, 99_999, ">I")  # a packet than its block
    made += [SNOOP, longer, *FOLLOWING.values()]
    for number, wrap in LINKS.values():
        for v6 in (False, True):
            records = [Record(time, wrap(packet)) for time, packet in conversation(v6=v6)]
            made.append(pcap(records, link=number))
    tunnels = [ethernet(packet) for packet in TUNNELS.values()]
    # Cut at every length: chance alone took minutes to.
    cut = [ethernet(TUNNELS[name])[:n] for name in ("GRE", "ERSPAN III") for n in range(60)]
    for frames in (tunnels, cut, *BAD.values()):
        made.append(pcap([Record(START + i, frame) for i, frame in enumerate(frames)]))
    for i, data in enumerate(made):
        (folder / f"{i}").write_bytes(data)
    return folder


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_seeds(tmp_path_factory.mktemp("seeds"))


def fuzz(program: Path, seconds: float, seeds: Path) -> subprocess.CompletedProcess[str]:
    command = [program, str(seconds), "0", seeds]
    return subprocess.run(command, capture_output=True, text=True)


def test_damaged_captures(tmp_path: Path, objects: dict[str, Path], seeds: Path) -> None:
    seconds = float(os.environ.get("NETDIFFUS_FUZZ_S", "3"))
    result = fuzz(linked(tmp_path, objects), seconds, seeds)
    assert result.returncode == 0, result.stderr[-3000:]
    runs, edges, then = map(
        int, re.findall(r"runs (\d+), .* edges (\d+) then (\d+)", result.stdout)[0]
    )
    print(result.stdout)
    assert runs > 200
    assert then > edges  # what was damaged reached what the seeds had not


@pytest.mark.parametrize(
    ("file", "check"),
    [
        ("headers", "if (!in.has(20)) return kTruncated;"),
        ("container", 'if (!body.from(20).has(kept)) return drop("a packet longer'),
        ("tunnels", "if (!in.has(12)) return kClosed;"),
    ],
)
def test_a_missing_check_is_found(
    tmp_path: Path, objects: dict[str, Path], seeds: Path, file: str, check: str
) -> None:
    text = (CSRC / f"capture/{file}.cpp").read_text()
    assert check in text
    source = tmp_path / f"{file}.cpp"
    source.write_text(text.replace(check, check.replace("if (", "if (false && ", 1)))
    broken = objects | {file: reader_part(tmp_path, source)}
    result = fuzz(linked(tmp_path, broken), 30, seeds)
    assert "Assertion" in result.stderr
    assert result.returncode != 0
