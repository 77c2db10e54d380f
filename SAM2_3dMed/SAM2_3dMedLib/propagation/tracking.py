"""A propagation: all chains of one object, round by round, reusing every slice whose inputs have not changed.

Rounds are started before the device has answered the last ones: what a chain computed beyond its object's end is then
thrown away.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .cancel import CancelToken
from .course import ChainRun, Course, Means, Reached
from .policies import MemoryPolicy
from .predictor import SlicePredictor
from .schedule import Chain, ChainKey
from .slice_decoder import SliceDecoder
from .slice_features import SliceFeatureStore
from .slice_tracker import SliceTracker
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


class Tracker:
    """Computes what a policy's chains reach. Holds no state of objects; a step depends only on its inputs."""

    def __init__(
        self, predictor: SlicePredictor, decoder: SliceDecoder, store: SliceFeatureStore, policy: MemoryPolicy
    ) -> None:
        self._store = store
        self._policy = policy
        self._means = Means(predictor, decoder, store, policy, SliceTracker(predictor, store))

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
        chains = self._policy.chains(sorted(state.conditioning), state.absent, *span)
        followed = [chain for chain in chains if not chain.absent]
        course = Course(self._means, state, [self._run(state, chain, span, rule) for chain in followed])
        beyond = [chain for chain in chains if chain.absent]
        done = sum(len(chain.positions) for chain in beyond)
        total = course.total + done
        emptied: dict[int, SliceResult] = {}
        for chain in beyond:
            emptied |= self._emptied(state, chain.positions, chain.key)
        try:
            if emptied:
                yield Progress(emptied, done, total)
            while not _cancelled(cancel) and (reached := course.next_round()) is not None:
                for entry in reached:
                    if _cancelled(cancel):
                        return
                    if entry.run.ended:
                        continue
                    changed, steps = self._judge(state, entry)
                    done += steps
                    if changed:
                        yield Progress(changed, done, total)
        finally:
            self._store.settle()

    def _run(self, state: ObjectState, chain: Chain, span: tuple[int, int], rule: StopRule) -> ChainRun:
        """A chain at its origin; slices before a range that starts away from it lend it their memories."""
        prompted = state.prompted[chain.key.origin].result
        run = ChainRun(chain, StopWatch(rule, 0 if prompted is None else prompted.mask.area))
        for position, result in state.results.items():
            if result.chain == chain.key and result.memory is not None and not span[0] <= position <= span[1]:
                run.passed[position] = result.memory
        return run

    def _judge(self, state: ObjectState, reached: Reached) -> tuple[dict[int, SliceResult], int]:
        """What a slice changes, and how many steps of its chain are done with it: all when the object has ended."""
        result, step = reached.finish(), reached.step
        gone = reached.run.watch.gone_after(result.mask.area, result.object_score) and step.may_end
        if gone:
            reached.run.ended = True
            left = step.chain.positions[step.number :]
            return self._emptied(state, left, step.chain.key), len(left)
        return ({} if result is reached.old else {step.position: result}), 1

    def _emptied(self, state: ObjectState, positions: tuple[int, ...], key: ChainKey) -> dict[int, SliceResult]:
        """Slices beyond the object's end that are not empty already."""
        shape = self._store.plane(state.axis).array_shape
        emptied: dict[int, SliceResult] = {}
        for position in positions:
            old = state.results.get(position)
            if old is None or old.mask.area > 0:
                emptied[position] = SliceResult.beyond_end(shape, key)
        return emptied


def _cancelled(cancel: CancelToken | None) -> bool:
    return cancel is not None and cancel.cancelled
