"""Builds the CUDA sources with what there is: a host compiler and the shim, or nvcc."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent
CSRC = HERE.parents[1] / "csrc"
STEMS = ("cached_attention", "decode", "denoise", "draw_tokens", "gasf", "noise")
COMPILER = os.environ.get("CXX", "g++")
MEMORY = ("-DSHIM_THREADS", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
RACES = ("-DSHIM_THREADS", "-fsanitize=thread")
HOST = ("-std=c++20", "-O1", "-fPIC", "-ffp-contract=off", "-pthread")
# As CMakeLists.txt has them.
DEVICE = ("-std=c++17", "-O3", "--fmad=false")
ARCHITECTURES = (80, 90)


def on_host(
    target: Path, source: str, *flags: str, csrc: Path = CSRC, stems: Sequence[str] = STEMS
) -> Path:
    """Builds a source behind the shim and the launchers that it calls."""
    kernels = ("cuda_runtime.h", *(f"cuda/{stem}.cu" for stem in stems))  # these use its words
    before = [word for name in kernels for word in ("-include", name)]
    includes = ("-I", str(csrc), "-I", str(HERE / "shim"))
    command = (COMPILER, *HOST, *flags, *includes, *before, str(HERE / source), "-o", str(target))
    subprocess.check_call(command)
    return target


def with_nvcc(folder: Path, architecture: int) -> tuple[Path, str]:
    """The machine code of all sources, taken as one, and what the assembler says of it."""
    source, target = folder / "all.cu", folder / f"{architecture}.cubin"
    source.write_text("".join(f'#include "cuda/{stem}.cu"\n' for stem in STEMS))
    command = ("nvcc", *DEVICE, f"-arch=sm_{architecture}", "-cubin", "-Xptxas", "-v")
    command = (*command, "-I", str(CSRC), str(source), "-o", str(target))
    return target, subprocess.run(command, check=True, capture_output=True, text=True).stderr


def cuobjdump() -> str | None:
    """The disassembler of CUDA's toolkit, or of the triton wheel."""
    found = importlib.util.find_spec("triton")
    inside = Path(*found.submodule_search_locations or ["."]) if found else Path(".")
    return shutil.which("cuobjdump") or shutil.which(
        "cuobjdump", path=str(inside / "backends" / "nvidia" / "bin")
    )


def mutant(folder: Path, *changes: tuple[str, str, str]) -> Path:
    """A copy of csrc in which files differ in one place each."""
    shutil.copytree(CSRC, folder)
    for file, old, new in changes:
        path = folder / "cuda" / file
        text = path.read_text()
        assert text.count(old) == 1, f"{file} has {text.count(old)} times {old!r}"
        path.write_text(text.replace(old, new))
    return folder
