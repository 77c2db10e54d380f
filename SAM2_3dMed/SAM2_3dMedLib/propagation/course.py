"""The course of one propagation: which slices come next, what they see, and which of them are started together."""

from __future__ import annotations

import itertools
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from .memory_bank import Layout, MemoryBank, MemorySelection, SliceMemory
from .policies import MemoryPolicy
from .predictor import SlicePredictor
from .prompts import Prompt
from .schedule import Chain, ChainKey, Step, rounds
from .slice_decoder import SliceDecoder
from .slice_features import SliceFeatureStore
from .slice_tracker import SliceTracker, SliceWork
from .state import ObjectState, SliceResult
from .stopping import StopWatch

# How many slices are encoded ahead in the first round; twice as many in each following one.
_FIRST_AHEAD = 4


@dataclass
class ChainRun:
    """A chain on its way: what it has passed, and whether the object has ended."""

    chain: Chain
    watch: StopWatch
    passed: dict[int, SliceMemory] = field(default_factory=dict)
    ended: bool = False


@dataclass(frozen=True)
class Reached:
    """A slice that a chain has reached.

    Attributes:
        old: what stood there; the very result of `finish` where nothing had to be computed.
        finish: waits until the slice is computed; its result.
    """

    step: Step
    run: ChainRun
    old: SliceResult | None
    finish: Callable[[], SliceResult]


@dataclass(frozen=True)
class Means:
    """What computes: shared by all propagations of a session."""

    predictor: SlicePredictor
    decoder: SliceDecoder
    store: SliceFeatureStore
    policy: MemoryPolicy
    tracker: SliceTracker


class Course:
    """Starts round after round of one object's chains. A round is the next slice of every chain."""

    def __init__(self, means: Means, state: ObjectState, runs: Sequence[ChainRun]) -> None:
        self._means = means
        self._state = state
        self._conditioning = state.conditioning
        self._slice_count = means.store.plane(state.axis).slice_count
        self._runs = {run.chain.key: run for run in runs}
        self._coming = deque(rounds([run.chain for run in runs]))
        self._under_way: deque[list[Reached]] = deque()

    @property
    def total(self) -> int:
        """Slices of all chains."""
        return sum(len(run.chain.positions) for run in self._runs.values())

    def next_round(self) -> list[Reached] | None:
        """The slices of the next round, in the order of their chains; None at the end.

        Some more rounds are started before this one is handed out, so that the device never waits for its results.
        """
        while self._coming and len(self._under_way) <= self._means.predictor.rounds_ahead:
            self._under_way.append(self._start(self._coming.popleft()))
        return self._under_way.popleft() if self._under_way else None

    def _start(self, steps: list[Step]) -> list[Reached]:
        """Start what a round has to compute; chains that have ended are left out."""
        if self._means.policy.reads_memories:
            self._finish_under_way()
        reached: dict[ChainKey, Reached] = {}
        alike: dict[Layout, list[tuple[Step, SliceWork]]] = defaultdict(list)
        for step in self._active(steps):
            key, position = step.chain.key, step.position
            run, old = self._runs[key], self._state.results.get(position)
            selection = self._select(run, position)
            hinted = self._state.prompted.get(position)
            hints = () if hinted is None else hinted.prompts
            if old is not None and _still_valid(old, selection, key, hints):
                run.passed[position] = old.memory
                reached[key] = Reached(step, run, old, lambda old=old: old)
            elif hints:
                result = self._with_hints(position, selection, key, hints)
                run.passed[position] = result.memory
                reached[key] = Reached(step, run, old, lambda result=result: result)
            else:
                alike[selection.layout].append((step, SliceWork(position, selection, key)))
        if alike:
            self._encode_ahead(steps)
        for group in alike.values():
            reached.update({entry.step.chain.key: entry for entry in self._track(group)})
        return [reached[step.chain.key] for step in steps if step.chain.key in reached]

    def _track(self, group: Sequence[tuple[Step, SliceWork]]) -> list[Reached]:
        """Start slices that see alike memories, as many at once as the device takes."""
        size, means, reached = self._means.predictor.tracking_batch, self._means, []
        for first in range(0, len(group), size):
            part = group[first : first + size]
            started = means.tracker.start(self._state.axis, [work for _, work in part])
            for (step, work), slice_ in zip(part, started, strict=True):
                run = self._runs[work.chain]
                run.passed[work.position] = slice_.memory
                reached.append(Reached(step, run, self._state.results.get(work.position), slice_.finish))
        return reached

    def _with_hints(
        self, position: int, selection: MemorySelection, key: ChainKey, hints: tuple[Prompt, ...]
    ) -> SliceResult:
        self._finish_under_way()  # this way needs their memories in host memory
        return self._means.decoder.track(self._state.axis, position, selection, key, hints)

    def _finish_under_way(self) -> None:
        """Wait for what was started: its memories are then in host memory."""
        for earlier in itertools.chain.from_iterable(self._under_way):
            earlier.finish()

    def _select(self, run: ChainRun, position: int) -> MemorySelection:
        bank = MemoryBank(self._conditioning, run.passed)
        return self._means.policy.select(bank, position, run.chain.key.direction, self._slice_count)

    def _active(self, steps: Sequence[Step]) -> list[Step]:
        return [step for step in steps if not self._runs[step.chain.key].ended]

    def _encode_ahead(self, steps: Sequence[Step]) -> None:
        """Encode slices of the next rounds together, before they are needed, where the device gains by it.

        The farther the chains have come, the farther ahead: little is encoded beyond the end of a small object.
        """
        most, store, axis = self._means.predictor.batch_size, self._means.store, self._state.axis
        if most == 1:
            return
        ahead = min(2 * most, _FIRST_AHEAD << min(steps[0].number, 8))
        positions: list[int] = []
        for others in itertools.chain([steps], self._coming):
            positions += [step.position for step in self._active(others)]
            if len(positions) >= ahead:
                break
        needed_now = store.missing(axis, [step.position for step in self._active(steps)])
        if needed_now or len(store.missing(axis, positions)) >= most:
            store.prefetch(axis, positions)


def _still_valid(result: SliceResult, selection: MemorySelection, key: ChainKey, hints: tuple[Prompt, ...]) -> bool:
    """Whether a result was computed from the very same inputs."""
    return (
        result.memory is not None
        and result.inputs == selection.fingerprint
        and result.chain == key
        and result.hints == hints
    )
