"""The objects that came out worst, as pictures: each on its worst slice, reference and result outlined."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from PIL import Image

from ..training.evaluation import ObjectEvaluation
from ..volume.images import SegmentInfo
from ..volume.planes import SliceAxis
from .picture import Sheet, arrange, draw_slice

SHOWN = 15
# Blue and orange of the Okabe-Ito palette: also told apart without red and green.
REFERENCE = SegmentInfo(1, "reference", (0.34, 0.71, 0.91))
RESULT = SegmentInfo(2, "result", (0.90, 0.62, 0.0))
PROMPT = SegmentInfo(3, "prompt", (0.94, 0.89, 0.26))


@dataclass(frozen=True, eq=False)
class WorstTile:
    """The picture of one object; `number` is its case's place in the manifest, for an order that is always the same."""

    dice: float
    number: int
    label: int
    picture: Image.Image

    @property
    def rank(self) -> tuple[float, int, int]:
        """Smaller is worse."""
        return self.dice, self.number, self.label


class WorstCases:
    """Keeps the pictures of the worst objects of those that were offered; only these are drawn."""

    def __init__(self, tiles: Sequence[WorstTile] = ()) -> None:
        """
        Args:
            tiles: what was kept before.
        """
        self._tiles = worst_of(tiles)

    @property
    def tiles(self) -> tuple[WorstTile, ...]:
        """Worst first."""
        return tuple(self._tiles)

    def offer(self, number: int, evaluation: ObjectEvaluation) -> None:
        """Keep an object's picture if it is among the worst so far; `number`: its case's place in the manifest."""
        result = evaluation.result
        if len(self._tiles) == SHOWN and (result.dice, number, result.label) >= self._tiles[-1].rank:
            return
        tile = WorstTile(result.dice, number, result.label, _draw(evaluation))
        self._tiles = worst_of([*self._tiles, tile])


def worst_of(tiles: Iterable[WorstTile]) -> list[WorstTile]:
    """The worst of some tiles, worst first, no more than are shown."""
    return sorted(tiles, key=lambda tile: tile.rank)[:SHOWN]


def draw_worst(tiles: Sequence[WorstTile]) -> Image.Image:
    """One RGB picture of at least one tile, with a legend."""
    return arrange([tile.picture for tile in tiles], (REFERENCE, RESULT, PROMPT))


def _draw(evaluation: ObjectEvaluation) -> Image.Image:
    result = evaluation.result
    sheet = Sheet(
        volume=evaluation.volume,
        window=evaluation.window,
        masks=(evaluation.reference, evaluation.prediction),
        segments=(REFERENCE, RESULT),
        prompts=[(PROMPT, prompt) for prompt in evaluation.prompts],
        axis=SliceAxis[result.axis],
    )
    caption = (
        f"{result.dataset} {result.case}",
        f"{result.name}: Dice {result.dice:.2f}",
        f"slice {result.axis} {result.worst_slice}: Dice {result.worst_slice_dice:.2f}",
    )
    return draw_slice(sheet, result.worst_slice, caption)
