"""In which order slices are reached: chains that start at prompted slices and take turns.

Positions are in anatomical order, so that ties fall the same way in a flipped file.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class ChainKey:
    """Which chain a result belongs to: the prompted position it starts from and its direction, +1 or -1."""

    origin: int
    direction: int


@dataclass(frozen=True)
class Chain:
    """Unprompted positions in the order of travel.

    Attributes:
        key: origin and direction.
        positions: what the chain computes.
        open_from: how many of them lie before the last prompted slice that the chain meets; from there on, the object
            may be judged gone. `len(positions)` for a chain between two prompted slices that show the object.
        absent: the prompts say that the object has ended at the origin: nothing is on these positions.
    """

    key: ChainKey
    positions: tuple[int, ...]
    open_from: int
    absent: bool = False


@dataclass(frozen=True)
class Step:
    """One position of a chain; `number` counts within the chain."""

    chain: Chain
    number: int

    @property
    def position(self) -> int:
        return self.chain.positions[self.number]

    @property
    def may_end(self) -> bool:
        """Whether the chain may be ended here by a stop rule."""
        return self.number >= self.chain.open_from


def bracketed_chains(prompted: Sequence[int], absent: Collection[int], first: int, last: int) -> list[Chain]:
    """Chains outward from every prompted position; two that face each other meet in the middle.

    Each position belongs to its nearest prompted position; a tie goes to the lower one. Where the object is absent on
    one of the two, the other's chain goes all the way, and may find the object's end before; nothing lies beyond.

    Args:
        prompted: sorted positions.
        absent: those of them on which the object is not.
        first: first position to compute.
        last: last position to compute, inclusive.
    """
    chains: list[Chain] = []
    for place, origin in enumerate(prompted):
        below = prompted[place - 1] if place > 0 else None
        above = prompted[place + 1] if place + 1 < len(prompted) else None
        up = tuple(range(max(origin + 1, first), min(last, _upper_end(origin, above, absent, last)) + 1))
        down = tuple(range(min(origin - 1, last), max(first, _lower_end(origin, below, absent, first)) - 1, -1))
        for direction, positions, other in ((1, up, above), (-1, down, below)):
            between = other is not None and not {origin, other} & set(absent)
            open_from = len(positions) if between else 0
            chains.append(Chain(ChainKey(origin, direction), positions, open_from, origin in absent))
    return [chain for chain in chains if chain.positions]


def _upper_end(origin: int, above: int | None, absent: Collection[int], last: int) -> int:
    """The last position of the chain upward from `origin`, whose next prompted position is `above`."""
    if above is None:
        return last
    if (origin in absent) == (above in absent):
        return (origin + above) // 2
    return origin if origin in absent else above - 1


def _lower_end(origin: int, below: int | None, absent: Collection[int], first: int) -> int:
    """The last position of the chain downward from `origin`, whose next prompted position is `below`."""
    if below is None:
        return first
    if (origin in absent) == (below in absent):
        return (origin + below) // 2 + 1
    return origin if origin in absent else below + 1


def sam2_chains(prompted: Sequence[int], first: int, last: int) -> list[Chain]:
    """SAM2VideoPredictor's two runs: forward from the first prompted position to the end, and in reverse from it."""
    start, final = prompted[0], prompted[-1]
    taken = set(prompted)
    up = tuple(position for position in range(max(start + 1, first), last + 1) if position not in taken)
    down = tuple(range(min(start - 1, last), first - 1, -1))
    chains = [
        Chain(ChainKey(start, 1), up, sum(position < final for position in up)),
        Chain(ChainKey(start, -1), down, 0),
    ]
    return [chain for chain in chains if chain.positions]


def rounds(chains: Sequence[Chain]) -> Iterator[list[Step]]:
    """All steps, the nearest slices of all chains first; a round has one step of each chain that still has one."""
    for number in range(max((len(chain.positions) for chain in chains), default=0)):
        yield [Step(chain, number) for chain in chains if number < len(chain.positions)]
