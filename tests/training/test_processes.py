"""Several processes learn what one learns; where one is lost, the others save and can go on."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import pytest
from runs import STATE, environment, run, state_of
from safetensors import safe_open
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from netdiffus.errors import InputError
from netdiffus.model import model
from netdiffus.model.model import Model
from netdiffus.traces.traces import Traces
from netdiffus.training import processes

# Dropout, jitter and hiding draw from each process's own numbers, so there are none here.
STILL = {"dropout": 0.0, "hidden": 0.0}
STEPS, LOST = 8, 5
# All processes are forks of one that has imported all, as imports would take most of the time.
SCRIPT = """
import sys
import torch._dynamo  # the first optimizer imports it
import test_processes
test_processes.lose_and_resume(sys.argv[1])
"""


def learn(folder: str, *more: str) -> None:
    """What each process does; `lose` kills the second one, as the loss of its machine would."""

    def progress(done: float, note: str) -> None:
        if "lose" in more and os.environ["RANK"] == "1" and note.startswith(f"step {LOST} "):
            os.kill(os.getpid(), signal.SIGKILL)

    with without_chance():
        run(Path(folder), STEPS, plain(), progress=progress, resume="resume" in more)


@contextmanager
def without_chance() -> Iterator[None]:
    """Networks that draw nothing in training, and are validated every 4 steps."""
    configure = model.configure
    with (
        mock.patch.object(model, "configure", lambda *args: replace(configure(*args), **STILL)),
        mock.patch("netdiffus.training.loop.validation_steps", return_value=4),
    ):
        yield


def plain() -> Traces:
    """Traces of plain numbers, which are not jittered."""
    rng = np.random.default_rng(0)
    return Traces.from_lists({"x": rng.integers(0, 5, (240, 6)).tolist()}, ["a", "b"] * 120)


def losses_of(folder: Path) -> list[float]:
    """Of each step."""
    with safe_open(folder / STATE, "pt") as found:
        losses: list[float] = json.loads(found.metadata()["losses"])
    return losses


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


def by_fork(*arguments: str) -> None:
    """Without torchrun: what it sets, as the start script of a cluster can, too."""
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    os.environ |= {"WORLD_SIZE": "2", "LOCAL_RANK": "0", "RANK": "01"[os.fork() == 0]}
    learn(*arguments)


def by_torchrun(*arguments: str) -> None:
    """What torchrun does with a script, done with a function."""
    config = LaunchConfig(
        1, 1, 2, rdzv_backend="c10d", rdzv_endpoint="localhost:0", start_method="fork"
    )
    elastic_launch(config, learn)(*arguments)


def lose_and_resume(folder: str) -> None:
    if os.fork() == 0:
        by_fork(folder, "lose")
        return
    assert os.wait()[1]
    steps = Model.load(folder).about["steps"]
    assert steps == LOST, f"saved at step {steps}"
    by_torchrun(folder, "resume")


def test_two_processes_learn_what_one_does_though_one_is_lost(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "two")],
        stderr=subprocess.PIPE,
        text=True,
        env=environment(OMP_NUM_THREADS="1"),
    )
    assert done.returncode == 0, done.stderr
    gone = f"another process of the training is gone at step {LOST}; the model is saved"
    assert gone in done.stderr
    with without_chance():
        one_model = run(tmp_path / "one", STEPS, plain())
        run(tmp_path / "other", STEPS, plain(), recipe={"batch_size": 2})  # half of each batch
    one, two, other = (state_of(tmp_path / k) for k in ("one", "two", "other"))
    names = [name for name in one if name.startswith("net.")]
    apart, half = (sum(float((one[n] - v[n]).abs().sum()) for n in names) for v in (two, other))
    # Adam divides gradients by themselves, so that of the tiniest the rounding shows.
    assert apart < 0.05 * half
    # Float32 sums in another order: 1e-6 a step, and 8 steps apart they have grown.
    np.testing.assert_allclose(losses_of(tmp_path / "two"), losses_of(tmp_path / "one"), rtol=1e-4)
    two_model = Model.load(tmp_path / "two")
    for name in ("validation_loss", "learned_loss"):
        assert two_model.about[name] == pytest.approx(one_model.about[name], rel=1e-4)


@pytest.mark.parametrize(
    ("theirs", "message"),
    [
        ({"netdiffus": "9.9"}, r"process 1 has netdiffus '9\.9', process 0 '"),
        ({"traces": "b"}, "process 1 has traces 'b', process 0 'a'"),
    ],
)
def test_a_process_of_other_code_or_traces_is_refused(
    theirs: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "gather_object", lambda mine: [*mine, {**mine[0], **theirs}])
    two: Any = SimpleNamespace(num_processes=2)
    with pytest.raises(InputError, match=message):
        processes.refuse_others(two, {"traces": "a"})
    monkeypatch.setattr(processes, "gather_object", lambda mine: [*mine, dict(mine[0])])
    processes.refuse_others(two, {"traces": "a"})


def test_sigterm_ends_as_ctrl_c_does(tmp_path: Path) -> None:
    """What Slurm sends before it kills."""

    def stop(done: float, note: str) -> None:
        if note.startswith("step 3 "):
            signal.raise_signal(signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    found = run(tmp_path / "m", STEPS, plain(), progress=stop)
    assert (found.about["ended"], found.about["steps"]) == ("interrupted", 3)
    assert signal.getsignal(signal.SIGTERM) == before
