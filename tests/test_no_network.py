"""Training, sampling and judging need no network, and do not ask for one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
ROOT = TESTS.parent
# Python's own sockets are noted. Those of libraries find no network either, but may keep silent.
NOTE = """
import socket, sys
asked = []
def note(event, arguments):
    if event.startswith(("socket.", "urllib.", "http.client.", "ftplib.", "smtplib.")):
        local = event == "socket.__new__" and arguments[1] == socket.AF_UNIX
        if not local:
            asked.append((event, str(arguments)))
sys.addaudithook(note)
"""
WORK = """
import contextlib
import netdiffus
from command import run
from conftest import _quick_reports
traces = netdiffus.lab_traffic("packets")[::9].truncate(8)
for preset in ("default", "paper"):
    netdiffus.train(traces, preset, recipe=netdiffus.Recipe(steps=2), preset=preset, width=8)
made = netdiffus.sample(netdiffus.Model.load("paper"), 45, seed=0, steps=2)
made.save("made.parquet")
with contextlib.contextmanager(_quick_reports)():
    for arguments in (
        ["sample", "default", "-n", "45", "-o", "more.csv"],
        ["evaluate", "made.parquet", "more.csv", "-o", "report.html"],
        ["info"],
    ):
        done = run(*arguments)
        assert done.code == 0, done.err
assert not asked, asked
print("done")
"""


def without_network(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Python in a network namespace that has no interface but `lo`, which is down."""
    return subprocess.run(
        ["unshare", "--map-root-user", "--net", sys.executable, "-W", "ignore", "-c", code],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{TESTS}", "OMP_NUM_THREADS": "1"},
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    if shutil.which("unshare") is None or without_network("pass", tmp_path).returncode:
        pytest.skip("no rights to leave the network")
    return tmp_path


def test_there_is_no_network_and_asking_is_seen(folder: Path) -> None:
    code = """
try:
    socket.create_connection(("127.0.0.1", 9), timeout=5)
except OSError as error:
    print(error.strerror, [event for event, _ in asked])
"""
    done = without_network(NOTE + code, folder)
    assert done.stdout.startswith("Network is unreachable"), done
    assert "socket.connect" in done.stdout


def test_all_works_without_a_network(folder: Path) -> None:
    done = without_network(NOTE + WORK, folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "done"
