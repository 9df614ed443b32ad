"""Parts made one after another, several at a time in threads, or by Ray."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from itertools import islice
from typing import TypeVar

from netdiffus.parts.on_ray import by_ray

T = TypeVar("T")
R = TypeVar("R")


def each(
    task: Callable[[T], R],
    items: Sequence[T],
    *,
    threads: int = 1,
    ray: str | None = None,
    on_gpus: bool = False,
) -> Iterator[R]:
    """What `task` gives for each item, in the order in which they are done.

    So many threads at a time, or by the Ray cluster of this address, see `by_ray`.
    """
    if ray is None:
        return in_threads(task, items, threads)
    return by_ray(task, items, ray, on_gpus=on_gpus)


def in_threads(task: Callable[[T], R], items: Sequence[T], threads: int) -> Iterator[R]:
    """What `task` gives for each item, in the order in which they are done.

    After an error no new item is begun; those under way are ended and given before it is raised.
    """
    if threads == 1:
        yield from map(task, items)
        return
    waiting, error = iter(items), None
    with ThreadPoolExecutor(threads) as pool:
        running = {pool.submit(task, item) for item in islice(waiting, threads)}
        while running:
            ended, running = wait(running, return_when=FIRST_COMPLETED)
            for future in ended:
                if future.exception() is not None:
                    error = error or future.exception()
                    continue
                yield future.result()
                begun = islice(waiting, 1 if error is None else 0)
                running |= {pool.submit(task, item) for item in begun}
    if error is not None:
        raise error
