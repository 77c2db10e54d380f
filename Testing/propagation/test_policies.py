"""Which memories a slice sees, by which chains it is reached, and how far a correction goes."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from SAM2_3dMedLib.propagation.memory_bank import MemoryBank, SliceMemory
from SAM2_3dMedLib.propagation.policies import BracketedMemoryPolicy, Sam2MemoryPolicy
from SAM2_3dMedLib.propagation.schedule import ChainKey, rounds

COUNT = 40
_ONE = torch.zeros(1, 3)
MEMORIES = {position: SliceMemory(_ONE, _ONE, _ONE) for position in range(COUNT)}
PROMPTED = st.sets(st.integers(0, COUNT - 1), min_size=1, max_size=6).map(sorted)


def _bank(conditioning: list[int], chain: range | list[int] = ()) -> MemoryBank:
    return MemoryBank({at: MEMORIES[at] for at in conditioning}, {at: MEMORIES[at] for at in chain})


def _offsets(entries) -> list[tuple[int, int]]:
    return [(entry.position, entry.offset) for entry in entries]


def test_sam2_sees_all_prompts_six_memories_and_past_pointers() -> None:
    selection = Sam2MemoryPolicy().select(_bank([5, 30], range(6, 28)), 28, 1, COUNT)
    recent = [(28 - slot, slot) for slot in (6, 5, 4, 3, 2, 1)]
    assert _offsets(selection.memories) == [(5, 0), (30, 0), *recent]
    # Slice 30 lies ahead: its memory is used, its pointer is not.
    assert _offsets(selection.pointers) == [(5, 23), *((28 - far, far) for far in range(1, 16))]
    assert selection.max_pointers == 16


def test_sam2_in_reverse_counts_the_other_way() -> None:
    selection = Sam2MemoryPolicy().select(_bank([5, 30], [29, 28, 27]), 26, -1, 12)
    assert _offsets(selection.memories) == [(5, 0), (30, 0), (29, 3), (28, 2), (27, 1)]
    assert _offsets(selection.pointers) == [(30, 4), (27, 1), (28, 2), (29, 3)]
    assert selection.max_pointers == 12


def test_bracketed_sees_the_prompts_on_both_sides_or_the_outermost() -> None:
    def conditioning(position: int, outer: int = 1) -> list[int]:
        policy = BracketedMemoryPolicy(outer, anchor=False)
        selection = policy.select(_bank([3, 10, 20, 30]), position, 1, COUNT)
        return sorted(entry.position for entry in selection.memories)

    assert conditioning(15) == [10, 20]
    assert conditioning(35) == [30]
    assert conditioning(1) == [3]
    assert conditioning(35, outer=2) == [20, 30]
    assert conditioning(1, outer=2) == [3, 10]


def test_bracketed_always_sees_the_slice_that_was_prompted_first() -> None:
    def conditioning(position: int) -> list[int]:
        selection = BracketedMemoryPolicy().select(_bank([20, 3, 10, 30]), position, 1, COUNT)
        return [entry.position for entry in selection.memories]

    assert conditioning(35) == [20, 30]
    assert conditioning(5) == [20, 3, 10]
    assert conditioning(15) == [10, 20], "once, where it brackets"


@given(PROMPTED, st.integers(0, COUNT - 1), st.sampled_from([1, 2]), st.booleans())
def test_reach_holds_every_slice_whose_prompted_memories_change(
    prompted: list[int], changed: int, outer: int, anchor: bool
) -> None:
    policy = BracketedMemoryPolicy(outer, anchor)
    with_it = sorted({*prompted, changed})
    without = [at for at in with_it if at != changed]
    reach = policy.reach(with_it, changed, COUNT)
    if not without:
        assert reach == range(COUNT)
        return
    for position in set(range(COUNT)) - set(with_it):
        old = {entry.position for entry in policy.select(_bank(without), position, 1, COUNT).memories}
        new = {entry.position for entry in policy.select(_bank(with_it), position, 1, COUNT).memories}
        if old != new:
            assert position in reach
    if outer == 1 and not (anchor and changed == with_it[0]):
        assert not set(reach) & set(without), "strictly between the prompted neighbors"


@pytest.mark.parametrize("policy", [Sam2MemoryPolicy(), BracketedMemoryPolicy()])
@given(prompted=PROMPTED, ends=st.tuples(st.integers(0, COUNT - 1), st.integers(0, COUNT - 1)).map(sorted))
def test_chains_reach_every_slice_of_the_range_once(policy, prompted: list[int], ends: list[int]) -> None:
    first, last = ends
    chains = policy.chains(prompted, (), first, last)
    reached = [position for chain in chains for position in chain.positions]
    assert sorted(reached) == [at for at in range(first, last + 1) if at not in prompted]
    for chain in chains:
        steps = [chain.key.direction * (at - chain.key.origin) for at in chain.positions]
        assert steps == sorted(steps)
        assert steps[0] > 0
    assert len({chain.key for chain in chains}) == len(chains)


@given(prompted=PROMPTED)
def test_bracketed_goes_from_the_nearest_prompt_and_never_ends_between_two(prompted: list[int]) -> None:
    for chain in BracketedMemoryPolicy().chains(prompted, (), 0, COUNT - 1):
        for position in chain.positions:
            assert abs(position - chain.key.origin) == min(abs(position - at) for at in prompted)
    for steps in rounds(BracketedMemoryPolicy().chains(prompted, (), 0, COUNT - 1)):
        for step in steps:
            between = prompted[0] < step.position < prompted[-1]
            assert step.may_end == (not between)


@given(prompted=PROMPTED, data=st.data())
def test_where_the_prompts_say_that_the_object_has_ended_nothing_lies_beyond(prompted: list[int], data) -> None:
    absent = data.draw(st.sets(st.sampled_from(prompted)))
    chains = BracketedMemoryPolicy().chains(prompted, absent, 0, COUNT - 1)
    reached = {position: chain for chain in chains for position in chain.positions}
    assert sorted(reached) == [at for at in range(COUNT) if at not in prompted]
    for position, chain in reached.items():
        sides = (
            max((at for at in prompted if at < position), default=None),
            min((at for at in prompted if at > position), default=None),
        )
        neighbors = [at for at in sides if at is not None]
        shown = [at for at in neighbors if at not in absent]
        assert chain.absent == (not shown)
        if shown:
            assert chain.key.origin in shown, "followed from where the object is, all the way to where it is not"
            assert (chain.open_from == 0) == (len(shown) == 1)


def test_steps_of_all_chains_take_turns_nearest_first() -> None:
    steps = list(rounds(BracketedMemoryPolicy().chains([3, 9], (), 0, 12)))
    assert [[step.position for step in taken] for taken in steps] == [[4, 2, 10, 8], [5, 1, 11, 7], [6, 0, 12]]
    assert steps[0][0].chain.key == ChainKey(3, 1)


def test_the_same_memories_have_the_same_fingerprint_and_new_ones_another() -> None:
    policy = Sam2MemoryPolicy()
    first = policy.select(_bank([5], [6, 7]), 8, 1, COUNT)
    assert first.fingerprint == policy.select(_bank([5], [6, 7]), 8, 1, COUNT).fingerprint
    again = MemoryBank({5: MEMORIES[5]}, {6: MEMORIES[6], 7: SliceMemory(_ONE, _ONE, _ONE)})
    assert first.fingerprint != policy.select(again, 8, 1, COUNT).fingerprint
