"""The processes and the device of a training, and Ctrl-C."""

from __future__ import annotations

import gc
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from accelerate import Accelerator

from netdiffus.device import usable
from netdiffus.errors import InputError


def joined() -> Accelerator:
    """Knows the processes. Without a GPU accelerate must be told so, or each would work alone."""
    return Accelerator(device_placement=False, cpu=not torch.cuda.is_available())


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


def check_batch(batch_size: int, processes: int) -> None:
    """Refuses batches that leave a process without a trace."""
    if batch_size < processes:
        raise InputError(
            f"batch_size {batch_size} is less than the {processes} processes: each needs a trace"
        )


def agreed(accelerator: Accelerator, wish: bool) -> bool:
    """Whether any process wishes it: all must do the same at the same step."""
    if accelerator.num_processes == 1:
        return wish
    wishes = torch.tensor(float(wish), device=accelerator.device)
    return float(accelerator.reduce(wishes)) > 0


def mean(accelerator: Accelerator, value: float) -> float:
    """The mean of a number over all processes."""
    if accelerator.num_processes == 1:
        return value
    number = torch.tensor(value, dtype=torch.float64, device=accelerator.device)
    return float(accelerator.reduce(number, "mean"))


def leave_group() -> None:
    """Ends the threads between processes; left running, they abort a process that is done."""
    if torch.distributed.is_initialized():
        gc.collect()  # networks wrapped for several processes hold the group
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()


@contextmanager
def interruptible() -> Iterator[threading.Event]:
    """Ctrl-C sets an event, so that a step is never cut in two; a second one ends at once."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def ask(signum: int, frame: object) -> None:
        asked.set()
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)
