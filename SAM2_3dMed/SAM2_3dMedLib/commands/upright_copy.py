"""`segment` on a volume that was resampled onto an oblique grid: the network sees an upright copy of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ..propagation.prompts import BoxPrompt, MaskPrompt, PointPrompt, Prompt
from ..volume.boxes import Rectangle
from ..volume.geometry import Geometry
from ..volume.images import Volume
from ..volume.upright import mask_on, resampled, upright_geometry


@dataclass(frozen=True)
class UprightCopy:
    """A volume along the patient's axes, and the grid of the file that it was made of."""

    volume: Volume
    file_geometry: Geometry

    def prompts(self, prompts: Sequence[Prompt]) -> tuple[Prompt, ...]:
        """Prompts on the file's grid as prompts on the copy's; its axes I, J and K are the nearest to the file's."""
        return tuple(_moved(prompt, self.file_geometry, self.volume.geometry) for prompt in prompts)

    def mask_in_file(self, mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """A mask [K, J, I] of the copy on the file's grid."""
        return mask_on(mask, self.volume.geometry, self.file_geometry)


def upright_copy(volume: Volume, objects: Sequence[Sequence[Prompt]]) -> UprightCopy | None:
    """The copy to work on, for prompts that are all in the file's anatomy; None when the file is to be used itself:
    it was not resampled, or a prompt is a mask of its own slices or lies in its padding.
    """
    prompts = [prompt for given in objects for prompt in given]
    if any(isinstance(prompt, MaskPrompt) for prompt in prompts):
        return None
    geometry = upright_geometry(volume)
    if geometry is None:
        return None
    moved = (_moved(prompt, volume.geometry, geometry) for prompt in prompts)
    if not all(geometry.contains(_positions(prompt)).all() for prompt in moved):
        return None
    return UprightCopy(resampled(volume, geometry), volume.geometry)


def _moved(prompt: Prompt, source: Geometry, target: Geometry) -> Prompt:
    if isinstance(prompt, PointPrompt):
        (i, j, k) = target.to_ijk(source.to_ras(prompt.position)).tolist()
        return replace(prompt, position=(i, j, k))
    assert isinstance(prompt, BoxPrompt)
    corners = np.array([prompt.corner_a, prompt.corner_b])
    half = np.diag(corners[1] - corners[0])[[axis for axis in range(3) if axis != prompt.axis]] / 2
    rectangle = Rectangle(source.to_ras(corners.mean(axis=0)), half @ source.ijk_to_ras[:3, :3].T)
    axis, low, high = rectangle.box_in(target)
    last = np.asarray(target.shape_ijk) - 1
    # The center stays as it is: a box whose slice is not in the copy is no box in it.
    beyond = np.arange(3) == axis
    low, high = (np.where(beyond, corner, np.clip(corner, 0, last)).tolist() for corner in (low, high))
    return BoxPrompt(axis, tuple(low), tuple(high))


def _positions(prompt: Prompt) -> npt.NDArray[np.float64]:
    return np.array([prompt.position] if isinstance(prompt, PointPrompt) else [prompt.corner_a, prompt.corner_b])
