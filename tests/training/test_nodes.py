"""Two nodes of torchrun, here over 127.0.0.1: one is lost, the other saves, and both go on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import traceback
from pathlib import Path

from runs import environment, run
from test_processes import LOST, STEPS, free_port, losses_of, plain, without_chance
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from netdiffus.model.model import Model

NODES = 2
SCRIPT = """
import sys
import torch._dynamo  # the first optimizer imports it
import test_nodes
test_nodes.lose_and_resume(sys.argv[1])
"""


def learn(folder: str, how: str) -> None:
    """What the process of each node does; `lose` kills the second node, its torchrun first."""

    def progress(done: float, note: str) -> None:
        if how == "lose" and os.environ["GROUP_RANK"] == "1" and note.startswith(f"step {LOST} "):
            os.kill(os.getppid(), signal.SIGKILL)
            os.kill(os.getpid(), signal.SIGKILL)

    with without_chance():
        run(Path(folder), STEPS, plain(), progress=progress, resume=how == "resume")


def torchrun(node: int, port: int, *arguments: str) -> None:
    """`torchrun --nnodes 2 --rdzv-backend c10d --rdzv-endpoint 127.0.0.1:PORT`, of a function."""
    config = LaunchConfig(
        NODES,
        NODES,
        1,
        run_id="test",
        rdzv_backend="c10d",
        rdzv_endpoint=f"127.0.0.1:{port}",
        rdzv_configs={"is_host": node == 0},  # by the address all would be
        max_restarts=0,  # as torchrun has it
        start_method="fork",
    )
    elastic_launch(config, learn)(*arguments)


def on_all_nodes(*arguments: str) -> int:
    """How many of the nodes ended with an error."""
    port, failed = free_port(), 0
    for node in range(NODES):
        if os.fork() == 0:
            try:
                torchrun(node, port, *arguments)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
    for _ in range(NODES):
        failed += os.wait()[1] != 0
    return failed


def lose_and_resume(folder: str) -> None:
    assert on_all_nodes(folder, "lose") == NODES
    steps = Model.load(folder).about["steps"]
    assert steps == LOST, f"saved at step {steps}"
    assert on_all_nodes(folder, "resume") == 0


def test_one_of_two_nodes_is_lost_and_both_go_on(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "two")],
        stderr=subprocess.PIPE,
        text=True,
        env=environment(OMP_NUM_THREADS="1"),
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    gone = f"another process of the training is gone at step {LOST}; the model is saved"
    assert gone in done.stderr
    about = Model.load(tmp_path / "two").about
    assert (about["steps"], about["ended"]) == (STEPS, "budget used")
    with without_chance():
        run(tmp_path / "one", STEPS, plain())
    one, two = (losses_of(tmp_path / name) for name in ("one", "two"))
    # Float32 sums in another order, as in test_processes.
    assert max(abs(a - b) / b for a, b in zip(two, one, strict=True)) < 1e-4
