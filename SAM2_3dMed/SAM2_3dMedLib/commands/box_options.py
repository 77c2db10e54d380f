"""From the two corners of a box, in voxels or millimeters, to a box prompt on one slice of the volume."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..propagation.prompts import BoxPrompt, nearest_index
from ..volume.boxes import patient_rectangle
from ..volume.geometry import FloatArray, Geometry
from ..volume.planes import SliceAxis
from .errors import UserError

_FAR_VOXELS = 1e6  # in no volume; squares of far greater numbers are infinite


def box_in_voxels(first: Sequence[float], second: Sequence[float], geometry: Geometry) -> BoxPrompt:
    """A box from two opposite corner voxels; its axis is the one along which both lie in the same slice.

    Raises:
        UserError: a corner is outside the volume, or the box is flat along no axis, or along more than one, so that
            it has no area.
    """
    corners = np.array([first, second], dtype=np.float64)
    inside = geometry.contains(corners)
    if not inside.all():
        raise UserError(outside_sentence("box", corners[int(inside[0])], geometry))
    voxels = _containing(corners)
    flat = np.flatnonzero(voxels[0] == voxels[1])
    if flat.size == 0:
        raise UserError(
            "A box must lie in one slice: give the same I, J or K (in mm: the same slice) for both corners."
        )
    if flat.size > 1:
        raise UserError("The box has no area: its corners must differ along two axes; use --point for a single place.")
    return _prompt(SliceAxis(int(flat[0])), voxels)


def box_in_mm(first: Sequence[float], second: Sequence[float], geometry: Geometry) -> BoxPrompt:
    """A box from two opposite corners in RAS mm: along the volume's axes where both lie in one of its slices, or
    along R, A and S where both lie in one axial, coronal or sagittal plane (see `volume.boxes`).

    Raises:
        UserError: as `box_in_voxels`.
    """
    corners = geometry.to_ijk([first, second])
    far = np.abs(corners).max() > _FAR_VOXELS
    rectangle = None if far else patient_rectangle(first, second, geometry)
    if rectangle is None:
        return box_in_voxels(*corners, geometry)
    axis, low, high = rectangle.box_in(geometry)
    corners[:, axis] = low[axis]  # a tilted rectangle leaves its slice, and at the volume's ends the volume
    inside = geometry.contains(corners)
    if not inside.all():
        raise UserError(outside_sentence("box", corners[int(inside[0])], geometry))
    voxels = np.clip(_containing(np.array([low, high])), 0, np.asarray(geometry.shape_ijk) - 1)
    if (voxels[0] == voxels[1]).sum() > 1:
        raise UserError("The box has no area: it is thinner than a voxel; use --point for a single place.")
    return _prompt(axis, voxels)


def outside_sentence(what: str, position: Sequence[float], geometry: Geometry) -> str:
    """The sentence for a voxel position that is not in the volume."""
    voxel = ",".join(f"{value:.7g}" if abs(value) > 1e6 else str(nearest_index(value)) for value in position)
    limits = ", ".join(f"{letter} 0..{n - 1}" for letter, n in zip("IJK", geometry.shape_ijk, strict=True))
    return f"The {what} at voxel {voxel} is outside the volume ({limits}); give voxels, or use --ras for millimeters."


def _containing(positions: FloatArray) -> FloatArray:
    """The voxels that positions [N, 3] lie in; a whole number that lost its last digit in a conversion stays."""
    return np.floor(np.round(positions, 6) + 0.5)


def _prompt(axis: SliceAxis, voxels: FloatArray) -> BoxPrompt:
    return BoxPrompt(axis, tuple(voxels.min(axis=0).tolist()), tuple(voxels.max(axis=0).tolist()))
