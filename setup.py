from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext


class CMakeBuild(build_ext):  # type: ignore[misc]  # setuptools leaves it untyped
    def build_extensions(self) -> None:
        if not any(map(shutil.which, (os.environ.get("CXX", "c++"), "g++", "clang++"))):
            sys.exit(
                "netdiffus: no C++ compiler found. Install one (g++ or clang++, or name it in "
                "CXX), or install without native code: NETDIFFUS_EXT=0 pip install ."
            )
        import pybind11

        target = Path(self.get_ext_fullpath(self.extensions[0].name)).resolve()
        source = Path(__file__).resolve().parent
        # A fixed place, so that a second build compiles only what changed.
        build = source / "build" / f"cmake-{sys.implementation.cache_tag}"
        configure = [
            f"-DCMAKE_LIBRARY_OUTPUT_DIRECTORY={target.parent}",
            f"-DPython_EXECUTABLE={sys.executable}",
            f"-DCMAKE_MAKE_PROGRAM={shutil.which('ninja')}",
            f"-Dpybind11_DIR={pybind11.get_cmake_dir()}",
            f"-DNETDIFFUS_CUDA={os.environ.get('NETDIFFUS_CUDA', '1')}",
            *shlex.split(os.environ.get("CMAKE_ARGS", "")),
        ]
        subprocess.check_call(["cmake", "-G", "Ninja", "-S", source, "-B", build, *configure])
        # Together, so that no processor waits for the last file of one module.
        subprocess.check_call(["cmake", "--build", build, "--target", *MODULES])


MODULES = [] if os.environ.get("NETDIFFUS_EXT") == "0" else ["_C", "_capture"]

setup(
    ext_modules=[Extension(f"netdiffus.{name}", []) for name in MODULES],
    cmdclass={"build_ext": CMakeBuild},
)
