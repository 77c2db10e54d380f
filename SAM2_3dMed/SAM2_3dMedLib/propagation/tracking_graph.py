"""A tracking step as a CUDA graph: several hundred small kernels start as one.

Started one by one they take longer than the card needs for them. Each number of tokens is a graph of its own; it is
captured when it comes for the second time, since capturing costs more than a step. Where capturing fails, the step runs
as it is, and the reason is logged once.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Hashable
from dataclasses import dataclass

import torch

from .tracking_step import StepInputs, StepOutputs

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Captured:
    graph: torch.cuda.CUDAGraph
    outputs: StepOutputs


class GraphedStep:
    """`step`, replayed. All inputs with the same key must lie in the same memory: a graph reads fixed addresses.

    All graphs share one memory pool and, by their shape, the memory of their outputs: they run one after another on one
    stream, and what a replay leaves is copied before the next.
    """

    def __init__(self, step: Callable[[StepInputs], StepOutputs]) -> None:
        self._step = step
        self._graphs: dict[Hashable, _Captured] = {}
        self._seen: set[Hashable] = set()
        self._outputs: dict[torch.Size, StepOutputs] = {}
        self._pool: tuple[int, int] | None = None
        self._stream: torch.cuda.Stream | None = None
        self.refusal = ""

    @property
    def captured(self) -> int:
        """How many graphs there are."""
        return len(self._graphs)

    def __call__(self, key: Hashable, inputs: StepInputs) -> StepOutputs:
        """Run the step; the outputs are the caller's own.

        Args:
            key: says which shapes the inputs have.
        """
        captured = self._graphs.get(key)
        if captured is None and key in self._seen and not self.refusal:
            captured = self._try_to_capture(key, inputs)
        if captured is None:
            self._seen.add(key)
            return self._step(inputs)
        captured.graph.replay()
        return _copy(captured.outputs)

    def prepare(self, key: Hashable, inputs: StepInputs) -> None:
        """Capture now what `__call__` would capture at the second call with this key; what is computed is dropped."""
        if key not in self._graphs and not self.refusal:
            self._try_to_capture(key, inputs)

    def clear(self) -> None:
        """Forget all graphs and their memory, as when the inputs' memory is given back."""
        self._graphs.clear()
        self._outputs.clear()
        self._pool = None

    def _try_to_capture(self, key: Hashable, inputs: StepInputs) -> _Captured | None:
        try:
            captured = self._capture(inputs)
        except torch.OutOfMemoryError:
            raise  # the caller gives memory back and tries again
        except RuntimeError as error:
            self.refusal = str(error).splitlines()[0]
            _log.warning("Tracking runs without CUDA graphs: %s", self.refusal)
            return None
        self._graphs[key] = captured
        return captured

    def _capture(self, inputs: StepInputs) -> _Captured:
        graph = torch.cuda.CUDAGraph()
        if self._pool is None:
            self._pool = torch.cuda.graph_pool_handle()
        if self._stream is None:
            self._stream = torch.cuda.Stream()
        # Not `torch.cuda.graph`: it collects garbage and empties the allocator's cache each time.
        torch.cuda.synchronize()
        with torch.cuda.stream(self._stream):
            # Libraries allocate their workspaces here, outside of the capture.
            kept = self._kept(self._step(inputs))
            graph.capture_begin(pool=self._pool, capture_error_mode="thread_local")
            try:
                for into, output in zip(kept.tensors(), self._step(inputs).tensors(), strict=True):
                    into.copy_(output)
            except BaseException:
                with contextlib.suppress(RuntimeError):  # says only that the capture has failed
                    graph.capture_end()
                raise
            graph.capture_end()
        torch.cuda.current_stream().wait_stream(self._stream)
        return _Captured(graph, kept)

    def _kept(self, outputs: StepOutputs) -> StepOutputs:
        """Where all graphs with outputs of this shape leave them."""
        return self._outputs.setdefault(outputs.logits.shape, outputs)


def _copy(outputs: StepOutputs) -> StepOutputs:
    return StepOutputs(*(tensor.clone() for tensor in outputs.tensors()))
