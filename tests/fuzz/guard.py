"""Watches a reader: no traceback, not more than 5 s, not more than 1 GB."""

from __future__ import annotations

import re
import resource
import shutil
import signal
import tempfile
import traceback
import warnings
from pathlib import Path

from readers import READERS

from netdiffus.errors import InputError

SECONDS: float = 5  # of processor time
GB = 1 << 30


class Guard:
    """Runs a reader and watches it; bounds the memory of this process."""

    def __init__(self) -> None:
        warnings.simplefilter("ignore")
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + 4 * GB  # beyond it the machine would suffer
        resource.setrlimit(resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))
        signal.signal(signal.SIGPROF, _hang)

    def __call__(self, reader: str, data: bytes) -> str | None:
        """What went wrong, if anything did."""
        folder = Path(tempfile.mkdtemp())
        Path("/proc/self/clear_refs").write_text("5")  # forgets the peak
        before = _status("VmRSS")
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        try:
            READERS[reader](data, folder)
        except InputError as error:
            if not str(error):
                return "an error without words"
        except (Exception, Hang):
            return traceback.format_exc()
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            shutil.rmtree(folder, ignore_errors=True)
        grown = _status("VmHWM") - before
        return f"took {grown / GB:.1f} GB" if grown > GB else None


class Hang(BaseException):
    """Which no reader takes for an error of its own."""


def _status(name: str) -> int:
    text = Path("/proc/self/status").read_text()
    return 1024 * int(re.findall(rf"{name}:\s+(\d+) kB", text)[0])


def _hang(number: int, frame: object) -> None:
    raise Hang(f"more than {SECONDS} s of processor time")
