"""Parts made by Ray, a task for each; one that is lost with its worker or node is done again."""

from __future__ import annotations

import os
import socket
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from itertools import islice
from typing import Any, TypeVar

from netdiffus.errors import InputError

T = TypeVar("T")
R = TypeVar("R")
TRIES = 5  # that a lost task is begun again: one that always kills its worker has to end
AHEAD = 4  # tasks to a processor that run or wait
LOCAL = "local"
SECONDS = 10.0  # that a machine has to answer


def by_ray(
    task: Callable[[T], R], items: Sequence[T], address: str, *, on_gpus: bool = False
) -> Iterator[R]:
    """What `task` gives for each item, in the order in which they are done.

    After an error no new item is begun; those under way are ended and given before it is raised.

    Args:
        task: Is sent to the workers, which need netdiffus in the same version.
        items: Each is a task of one processor.
        address: `local` starts Ray on this machine; else of a cluster that runs: `auto`, or
            `HOST:PORT` of its head.
        on_gpus: Give each task a GPU, where the cluster has any.

    Raises:
        InputError: Ray is not installed, no Ray answers there, a worker has another version of
            netdiffus, or a part kills each worker that makes it.
    """
    ray = _installed()
    with _connected(ray, address):
        resources = ray.cluster_resources()
        gpus = 1 if on_gpus and resources.get("GPU", 0) >= 1 else 0
        remote = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=TRIES)(_called)
        shared, ours, waiting = ray.put(task), version("netdiffus"), iter(items)
        ahead = AHEAD * max(1, int(resources.get("CPU", 1)))
        running = [remote.remote(shared, ours, item) for item in islice(waiting, ahead)]
        error: Exception | None = None
        while running:
            (ended,), running = ray.wait(running, num_returns=1)
            try:
                yield ray.get(ended)
            except ray.exceptions.RayError as found:
                error = error or _said(found)
            begun = islice(waiting, 1 if error is None else 0)
            running += [remote.remote(shared, ours, item) for item in begun]
        if error is not None:
            raise error


def _called(task: Callable[[Any], Any], ours: str, item: Any) -> Any:
    """What a worker does; what fails is said with the name of its machine."""
    theirs = version("netdiffus")
    if theirs != ours:
        raise InputError(
            f"{socket.gethostname()} has netdiffus {theirs}, this process {ours}; install the same"
        )
    try:
        return task(item)
    except OSError as error:
        text = f"{error.strerror or error} (on {socket.gethostname()})"
        raise OSError(error.errno, text, error.filename) from None


def _said(error: Exception) -> Exception:
    """What the task itself raised, or why there is no result of it."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, (InputError, OSError, MemoryError)):
        return cause
    first = (str(cause or error).strip().splitlines() or [type(error).__name__])[0]
    return InputError(
        f"Ray gives no result of a part, begun {TRIES + 1} times: {type(error).__name__}: {first}; "
        "parts that are done are kept, so run the command again"
    )


def _installed() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing of this is sent anywhere
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")  # workers have what they have
    try:
        import ray
    except ImportError:
        raise InputError("Ray is not installed; run: pip install 'netdiffus[ray]'") from None
    return ray


@contextmanager
def _connected(ray: Any, address: str) -> Iterator[None]:
    """Connected to a cluster, that of the caller if there is a connection already."""
    if ray.is_initialized():
        yield
        return
    _refuse_silence(address)
    own: dict[str, Any] = {"include_dashboard": False} if address == LOCAL else {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            ray.init(address, log_to_driver=False, logging_level="ERROR", **own)
    except (RuntimeError, ValueError, OSError) as error:
        raise _no_answer(address, error) from None
    try:
        yield
    finally:
        ray.shutdown()


def _refuse_silence(address: str) -> None:
    """Refuses an address where nothing listens; Ray would try it for many minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not (colon and port.isdecimal()):
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), SECONDS).close()
    except (OSError, OverflowError) as error:
        raise _no_answer(address, error) from None


def _no_answer(address: str, error: Exception) -> InputError:
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return InputError(
        f"no Ray answers at {address!r} ({first}); give HOST:PORT of its head, 'auto' on a machine "
        "of its cluster, or 'local' to start it on this machine"
    )
