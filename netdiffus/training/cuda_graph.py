"""A function that runs as a CUDA graph: many small kernels take longer to start than to run."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

AS_IT_IS = 3  # calls: what loads or reserves at first must have done so before a capture


class Graphed:
    """A function on a GPU: run as it is a few times, then captured, then replayed.

    Every call counts, also the first ones. What the function changes beside its result must be
    tensors that stay where they are, and it must do the same with every argument: a number that
    changes has to be a tensor, too. It may not wait for the GPU.

    Args:
        run: Of tensors whose shapes and types are the same in every call; its result is a tensor,
            which the next call overwrites.
    """

    def __init__(self, run: Callable[..., Tensor]) -> None:
        self.run, self.calls = run, 0
        self.stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        self.graph: torch.cuda.CUDAGraph | None = None
        self.given: list[Tensor] = []
        self.result = torch.empty(0)

    def __call__(self, *given: Tensor) -> Tensor:
        """The result of the function."""
        self.calls += 1
        if self.calls <= AS_IT_IS:
            return self._aside(given)
        if self.graph is None:
            self._capture(given)
        assert self.graph is not None
        torch._foreach_copy_(self.given, list(given))
        self.graph.replay()
        return self.result

    def _aside(self, given: tuple[Tensor, ...]) -> Tensor:
        """On the stream of the capture, as gradients are added up on the stream they first took."""
        now = torch.cuda.current_stream()
        self.stream.wait_stream(now)
        with torch.cuda.stream(self.stream):
            result = self.run(*given)
        now.wait_stream(self.stream)
        return result

    def _capture(self, given: tuple[Tensor, ...]) -> None:
        self.given, graph = [v.clone() for v in given], torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=self.stream):
            self.result = self.run(*self.given)
        self.graph = graph
