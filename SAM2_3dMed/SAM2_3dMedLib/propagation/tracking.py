"""A propagation: all chains of one object, step by step, reusing every slice whose inputs have not changed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from .cancel import CancelToken
from .memory_bank import MemoryBank, MemorySelection, SliceMemory
from .policies import MemoryPolicy
from .prompts import Prompt
from .schedule import Chain, ChainKey, Step, interleaved
from .slice_decoder import SliceDecoder
from .slice_features import SliceFeatureStore
from .state import ObjectState, SliceResult
from .stopping import StopRule, StopWatch


@dataclass(frozen=True)
class Progress:
    """What one step changed.

    Attributes:
        results: by position; several when a chain has ended and the slices beyond it become empty.
        done, total: steps so far and in all; steps that a chain no longer takes count as done.
    """

    results: dict[int, SliceResult]
    done: int
    total: int


@dataclass
class _ChainRun:
    """A chain on its way: what it has passed, and whether the object has ended."""

    chain: Chain
    watch: StopWatch
    passed: dict[int, SliceMemory] = field(default_factory=dict)
    ended: bool = False


class Tracker:
    """Computes what a policy's chains reach. Holds no state of objects; a step depends only on its inputs."""

    def __init__(self, decoder: SliceDecoder, store: SliceFeatureStore, policy: MemoryPolicy, batch_size: int) -> None:
        self._decoder = decoder
        self._store = store
        self._policy = policy
        self._batch_size = batch_size

    def track(
        self, state: ObjectState, span: tuple[int, int], rule: StopRule, cancel: CancelToken | None
    ) -> Iterator[Progress]:
        """Propagate from the state's prompted slices; yields after each slice that was computed or emptied.

        Slices whose memories are the same as when they were last computed keep their result: a correction costs only
        what it reaches, and a canceled propagation is taken up where it was left.

        Args:
            state: prompts all answered, at least one with a memory.
            span: first and last position to compute.
            rule: when a chain has left the object.
            cancel: checked before each slice.
        """
        conditioning = state.conditioning
        chains = self._policy.chains(sorted(conditioning), *span)
        runs = {chain.key: self._start(state, chain, span, rule) for chain in chains}
        steps = list(interleaved(chains))
        done = 0
        for number, step in enumerate(steps):
            if cancel is not None and cancel.cancelled:
                return
            run = runs[step.chain.key]
            if run.ended:
                continue
            done += 1
            position = step.position
            bank = MemoryBank(conditioning, run.passed)
            selection = self._policy.select(bank, position, run.chain.key.direction, self._count(state))
            hinted = state.prompted.get(position)
            hints = () if hinted is None else hinted.prompts
            old = state.results.get(position)
            result = old
            if not _still_valid(old, selection, run.chain.key, hints):
                self._prefetch(state, steps[number:], runs)
                result = self._decoder.track(state.axis, position, selection, run.chain.key, hints)
            run.passed[position] = result.memory
            changed = {} if result is old else {position: result}
            gone = run.watch.gone_after(result.mask.area, result.object_score) and step.may_end
            if gone:
                run.ended = True
                left = run.chain.positions[step.number :]
                done += len(left) - 1
                changed = self._emptied(state, left, run.chain.key)
            if changed:
                yield Progress(changed, done, len(steps))

    def _count(self, state: ObjectState) -> int:
        return self._store.plane(state.axis).slice_count

    def _start(self, state: ObjectState, chain: Chain, span: tuple[int, int], rule: StopRule) -> _ChainRun:
        """A chain at its origin; slices before a range that starts away from it lend it their memories."""
        prompted = state.prompted[chain.key.origin].result
        run = _ChainRun(chain, StopWatch(rule, 0 if prompted is None else prompted.mask.area))
        for position, result in state.results.items():
            if result.chain == chain.key and result.memory is not None and not span[0] <= position <= span[1]:
                run.passed[position] = result.memory
        return run

    def _emptied(self, state: ObjectState, positions: tuple[int, ...], key: ChainKey) -> dict[int, SliceResult]:
        """Slices beyond the object's end that are not empty already."""
        shape = self._store.plane(state.axis).array_shape
        emptied: dict[int, SliceResult] = {}
        for position in positions:
            old = state.results.get(position)
            if old is None or old.mask.area > 0:
                emptied[position] = SliceResult.beyond_end(shape, key)
        return emptied

    def _prefetch(self, state: ObjectState, steps: list[Step], runs: dict[ChainKey, _ChainRun]) -> None:
        """Encode the slices of the next steps together where the device gains by it."""
        if self._batch_size == 1:
            return
        coming = [step.position for step in steps if not runs[step.chain.key].ended]
        self._store.prefetch(state.axis, coming[: self._batch_size])


def _still_valid(
    result: SliceResult | None, selection: MemorySelection, key: ChainKey, hints: tuple[Prompt, ...]
) -> bool:
    """Whether a result was computed from the very same inputs."""
    return (
        result is not None
        and result.memory is not None
        and result.inputs == selection.fingerprint
        and result.chain == key
        and result.hints == hints
    )
