"""Mask prompts as lines in the views; points and boxes are markups (`prompt_markups`)."""

from __future__ import annotations

import numpy as np

from .slice_view import SliceView
from .stroke_mask import in_plane_axes, outline
from .view_overlay import POSITIVE_COLOR, Line


def prompt_lines(source, view: SliceView, prompt, edges: np.ndarray) -> list[Line]:
    """The outline of a mask prompt where the view shows its slice. `edges` [N,2]: rows and columns, pairs of ends."""
    row, column = in_plane_axes(prompt.axis)
    ijk = np.zeros((len(edges), 3))
    ijk[:, prompt.axis] = prompt.index
    ijk[:, row], ijk[:, column] = edges[:, 0], edges[:, 1]
    xyz = view.ras_to_xyz(source.ijk_to_world(ijk))
    if len(xyz) and (np.abs(xyz[:, 2]) <= 0.5).all():
        return [Line(xyz[:, :2], POSITIVE_COLOR, segments=True)]
    return []


class Outlines:
    """Outlines of mask prompts, kept: the views ask for them at every move of the mouse."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[object, np.ndarray]] = {}

    def edges(self, stored) -> np.ndarray | None:
        """Ends of the pieces [N,2] (row, column) of a stored prompt's outline; None when it is no mask."""
        prompt = stored.prompt
        if not hasattr(prompt, "mask"):
            return None
        known = self._known.get(stored.prompt_id)
        if known is None or known[0] is not prompt:
            self._known[stored.prompt_id] = known = (prompt, outline(np.asarray(prompt.mask)).reshape(-1, 2))
        return known[1]

    def keep(self, prompt_ids) -> None:
        """Forget the outlines of all other prompts."""
        self._known = {name: known for name, known in self._known.items() if name in prompt_ids}
