"""The processes and the device of a training, and Ctrl-C."""

from __future__ import annotations

import gc
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, gather_object

from netdiffus.device import usable
from netdiffus.errors import InputError


def joined() -> Accelerator:
    """The accelerator of all processes. Without a GPU it needs `cpu`, or each works alone."""
    on_cpu = not torch.cuda.is_available()
    # The buffers of a network are the same everywhere: to send them takes a message a step.
    same = DistributedDataParallelKwargs(broadcast_buffers=False, gradient_as_bucket_view=True)
    return Accelerator(device_placement=False, cpu=on_cpu, kwargs_handlers=[same])


def target_device(accelerator: Accelerator, device: str | None) -> torch.device:
    """The device of this process.

    Raises:
        InputError: It cannot be used, or several processes were given one.
    """
    if device is None:
        return torch.device(accelerator.device)
    if accelerator.num_processes > 1:
        raise InputError(
            f"device {device!r}: several processes have one each by accelerate; leave it out"
        )
    return usable(device)


@contextmanager
def one_thread(is_asked: bool) -> Iterator[None]:
    """Limits torch to one thread if requested, because sums depend on the number of threads."""
    before = torch.get_num_threads()
    if is_asked:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        if is_asked:
            torch.set_num_threads(before)


def check_deterministic(is_asked: bool, target: torch.device) -> None:
    """Refuses `deterministic` on a GPU."""
    if is_asked and target.type != "cpu":
        raise InputError(
            f"deterministic: not on {target.type}; give device='cpu' (--device cpu), or leave it "
            "out"
        )


def check_batch(batch_size: int, processes: int) -> None:
    """Refuses batches that are too small for the number of processes."""
    if batch_size < processes:
        raise InputError(
            f"batch_size {batch_size} is less than the {processes} processes: each needs a trace"
        )


def summed(accelerator: Accelerator, *numbers: float) -> list[float]:
    """The sums of numbers over all processes, in one message: each message takes time."""
    if accelerator.num_processes == 1:
        return list(numbers)
    found = torch.tensor(numbers, dtype=torch.float64, device=accelerator.device)
    sums: list[float] = accelerator.reduce(found).tolist()
    return sums


def refuse_others(accelerator: Accelerator, about: Mapping[str, Any]) -> None:
    """Refuses processes with other traces, settings or code.

    Raises:
        InputError: Names the first process that differs from rank 0, and the difference.
    """
    if accelerator.num_processes == 1:
        return
    mine = {"netdiffus": version("netdiffus"), "torch": torch.__version__, **about}
    first, *others = gather_object([mine])
    for rank, other in enumerate(others, 1):
        for name, value in first.items():
            if other.get(name) != value:
                raise InputError(
                    f"process {rank} has {name} {other.get(name)!r}, process 0 {value!r}; all must "
                    "have the same code, traces and settings"
                )


def is_loss_of_a_process(error: Exception) -> bool:
    """Whether an error means that another process no longer answers."""
    return isinstance(error, torch.distributed.DistError) or "gloo" in str(error)


def leave_group() -> None:
    """Ends the communication threads; otherwise they abort a process when it exits."""
    if torch.distributed.is_initialized():
        gc.collect()  # networks wrapped for several processes hold the group
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()


@contextmanager
def interruptible() -> Iterator[threading.Event]:
    """Ctrl-C or SIGTERM sets an event, so the current step completes; a second one ends at once."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def ask(signum: int, frame: object) -> None:
        asked.set()
        signal.signal(signum, before[signum])

    before: dict[int, Any] = {
        one: signal.signal(one, ask) for one in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield asked
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
