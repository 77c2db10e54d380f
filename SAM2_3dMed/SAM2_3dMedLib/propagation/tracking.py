"""A propagation: all chains of one object, round by round, reusing every slice whose inputs have not changed.

A round is the next slice of every chain. Slices of a round whose memories are alike run as one batch, and the next
rounds are started before the device has answered: what a chain computed beyond its object's end is then thrown away.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from .cancel import CancelToken
from .memory_bank import Layout, MemoryBank, MemorySelection, SliceMemory
from .policies import MemoryPolicy
from .predictor import SlicePredictor
from .prompts import Prompt
from .schedule import Chain, ChainKey, Step, rounds
from .slice_decoder import SliceDecoder
from .slice_features import SliceFeatureStore
from .slice_tracker import SliceTracker, SliceWork
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


@dataclass(frozen=True)
class _Reached:
    """A slice that a chain has reached; `finish` waits until it is computed."""

    step: Step
    run: _ChainRun
    old: SliceResult | None
    finish: Callable[[], SliceResult]


class Tracker:
    """Computes what a policy's chains reach. Holds no state of objects; a step depends only on its inputs."""

    def __init__(
        self, predictor: SlicePredictor, decoder: SliceDecoder, store: SliceFeatureStore, policy: MemoryPolicy
    ) -> None:
        self._predictor = predictor
        self._decoder = decoder
        self._store = store
        self._policy = policy
        self._slices = SliceTracker(predictor, store)

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
        chains = self._policy.chains(sorted(state.conditioning), *span)
        runs = {chain.key: self._start(state, chain, span, rule) for chain in chains}
        total = sum(len(chain.positions) for chain in chains)
        done = 0
        under_way: deque[list[_Reached]] = deque()
        coming = deque(rounds(chains))
        while coming or under_way:
            if cancel is not None and cancel.cancelled:
                return
            if coming:
                under_way.append(self._reach(state, coming.popleft(), runs, coming, under_way))
            if coming and len(under_way) <= self._predictor.rounds_ahead:
                continue
            for reached in under_way.popleft():
                if cancel is not None and cancel.cancelled:
                    return
                if reached.run.ended:
                    continue
                result, step = reached.finish(), reached.step
                done += 1
                changed = {} if result is reached.old else {step.position: result}
                gone = reached.run.watch.gone_after(result.mask.area, result.object_score) and step.may_end
                if gone:
                    reached.run.ended = True
                    left = step.chain.positions[step.number :]
                    done += len(left) - 1
                    changed = self._emptied(state, left, step.chain.key)
                if changed:
                    yield Progress(changed, done, total)

    def _reach(
        self,
        state: ObjectState,
        steps: list[Step],
        runs: dict[ChainKey, _ChainRun],
        coming: deque[list[Step]],
        under_way: deque[list[_Reached]],
    ) -> list[_Reached]:
        """Start what a round has to compute; chains that have ended are left out."""
        reached: dict[ChainKey, _Reached] = {}
        alike: dict[Layout, list[tuple[Step, SliceWork]]] = defaultdict(list)
        for step in steps:
            key, position, run = step.chain.key, step.position, runs[step.chain.key]
            if run.ended:
                continue
            selection = self._select(state, run, position)
            hinted = state.prompted.get(position)
            hints = () if hinted is None else hinted.prompts
            old = state.results.get(position)
            if old is not None and _still_valid(old, selection, key, hints):
                run.passed[position] = old.memory
                reached[key] = _Reached(step, run, old, lambda old=old: old)
            elif hints:
                for earlier in (entry for others in under_way for entry in others):
                    earlier.finish()  # this way needs their memories in host memory
                result = self._decoder.track(state.axis, position, selection, key, hints)
                run.passed[position] = result.memory
                reached[key] = _Reached(step, run, old, lambda result=result: result)
            else:
                alike[selection.layout].append((step, SliceWork(position, selection, key)))
        if alike:
            self._prefetch(state, steps, coming, runs)
        most = self._predictor.tracking_batch
        for group in alike.values():
            for first in range(0, len(group), most):
                part = group[first : first + most]
                started = self._slices.start(state.axis, [work for _, work in part])
                for (step, work), slice_ in zip(part, started, strict=True):
                    run = runs[work.chain]
                    run.passed[work.position] = slice_.memory
                    reached[work.chain] = _Reached(step, run, state.results.get(work.position), slice_.finish)
        return [reached[step.chain.key] for step in steps if step.chain.key in reached]

    def _select(self, state: ObjectState, run: _ChainRun, position: int) -> MemorySelection:
        bank = MemoryBank(state.conditioning, run.passed)
        return self._policy.select(bank, position, run.chain.key.direction, self._count(state))

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

    def _prefetch(
        self, state: ObjectState, steps: list[Step], coming: deque[list[Step]], runs: dict[ChainKey, _ChainRun]
    ) -> None:
        """Encode the slices of the next rounds together where the device gains by it."""
        most = self._predictor.batch_size
        if most == 1 or self._store.has_raw(state.axis, [step.position for step in steps]):
            return
        positions = [step.position for step in steps if not runs[step.chain.key].ended]
        for later in coming:
            if len(positions) >= most:
                break
            positions += [step.position for step in later if not runs[step.chain.key].ended]
        self._store.prefetch(state.axis, positions[: max(most, len(steps))])


def _still_valid(result: SliceResult, selection: MemorySelection, key: ChainKey, hints: tuple[Prompt, ...]) -> bool:
    """Whether a result was computed from the very same inputs."""
    return (
        result.memory is not None
        and result.inputs == selection.fingerprint
        and result.chain == key
        and result.hints == hints
    )
