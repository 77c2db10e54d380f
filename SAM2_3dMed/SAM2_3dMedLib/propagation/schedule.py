"""In which order slices are reached: chains that start at prompted slices and take turns.

Positions are in anatomical order, so that ties fall the same way in a flipped file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
            may be judged gone. `len(positions)` for a chain between two prompted slices.
    """

    key: ChainKey
    positions: tuple[int, ...]
    open_from: int


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


def bracketed_chains(prompted: Sequence[int], first: int, last: int) -> list[Chain]:
    """Chains outward from every prompted position; two that face each other meet in the middle.

    Each position belongs to its nearest prompted position; a tie goes to the lower one.

    Args:
        prompted: sorted positions.
        first: first position to compute.
        last: last position to compute, inclusive.
    """
    chains: list[Chain] = []
    for place, origin in enumerate(prompted):
        below = prompted[place - 1] if place > 0 else None
        above = prompted[place + 1] if place + 1 < len(prompted) else None
        up_end = last if above is None else min(last, (origin + above) // 2)
        down_end = first if below is None else max(first, (origin + below) // 2 + 1)
        up = tuple(range(max(origin + 1, first), up_end + 1))
        down = tuple(range(min(origin - 1, last), down_end - 1, -1))
        chains.append(Chain(ChainKey(origin, 1), up, 0 if above is None else len(up)))
        chains.append(Chain(ChainKey(origin, -1), down, 0 if below is None else len(down)))
    return [chain for chain in chains if chain.positions]


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
