"""Several jobs at a time, their results in order and never much ahead of who takes them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import Full, Queue
from threading import Event
from typing import TypeVar

T = TypeVar("T")
AHEAD = 8  # results that a job may have waiting


def in_order(jobs: Iterable[Callable[[], Iterator[T]]], threads: int, stop: Event) -> Iterator[T]:
    """What each job yields, job after job, while later ones already run in threads.

    An exception in a job is raised after what the job had yielded.

    Args:
        jobs: What is to be done.
        threads: Jobs at a time.
        stop: Set here once nobody takes results any more; jobs that run long should look at it.
    """
    todo = iter(jobs)
    waiting: deque[tuple[Future[None], Queue[T | None]]] = deque()
    with ThreadPoolExecutor(threads) as pool:

        def start() -> None:
            for job in todo:
                queue: Queue[T | None] = Queue(AHEAD)
                waiting.append((pool.submit(_fill, job, queue, stop), queue))
                return

        for _ in range(2 * threads):
            start()
        try:
            while waiting:
                future, queue = waiting.popleft()
                while (result := queue.get()) is not None:
                    yield result
                future.result()
                start()
        finally:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)


def _fill(job: Callable[[], Iterator[T]], queue: Queue[T | None], stop: Event) -> None:
    if stop.is_set():
        return
    try:
        for result in job():
            _put(queue, result, stop)
            if stop.is_set():
                return
    finally:
        _put(queue, None, stop)


def _put(queue: Queue[T | None], result: T | None, stop: Event) -> None:
    while not stop.is_set():
        try:
            return queue.put(result, timeout=0.1)
        except Full:
            continue
