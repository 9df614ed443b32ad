"""Runs a function as a CUDA graph, because many small kernels take longer to start than to run."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

AS_IT_IS = 3  # calls: what loads or reserves at first must have done so before a capture


class Graphed:
    """A function on a GPU: executed normally a few times, then captured, then replayed.

    Every call has its full effect, also the first ones. The function may change only tensors whose
    addresses stay the same. It must do the same work for every argument, so a number that changes
    must be a tensor. It must not wait for the GPU.

    Args:
        run: A function of tensors whose shapes and types are the same in every call. Its result is
            a tensor, which the next call overwrites.
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
        """Runs on the stream of the capture: gradients use the stream of their first use."""
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
