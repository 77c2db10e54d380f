"""Boxes given in millimeters: the rectangle in the patient that two corners mean, laid onto a slice of the volume.

Two opposite corners leave open which way the rectangle's edges run. In a volume whose axes are those of the patient
there is one answer. In a turned one there are two, along the volume's axes or along R, A and S, and this module
decides between them by where the corners lie.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .geometry import FloatArray, Geometry
from .planes import SliceAxis, axis_along

# Voxels. Corners computed from voxel indices come back as whole numbers but for the digits that were printed (0.05 mm);
# five others are that near to whole numbers by chance once in 40,000 boxes.
_WHOLE_VOXEL = 0.06


@dataclass(frozen=True, eq=False)
class Rectangle:
    """A flat rectangle in the patient.

    center: RAS, mm [3]. half_edges: from the center to the middles of two neighboring edges, RAS, mm [2, 3].
    """

    center: FloatArray
    half_edges: FloatArray

    def box_in(self, geometry: Geometry) -> tuple[SliceAxis, FloatArray, FloatArray]:
        """(axis, lowest, highest corner): voxels [3], not rounded, on the slice nearest to the rectangle.

        The slice is the one through the center, across the axis nearest to the rectangle's normal. On it the box
        bounds the ellipse inscribed in the rectangle, as the rectangle bounds an object; the box round the turned
        rectangle itself would be larger than anyone draws: a turn by 12 degrees made it 15 % wider, and liver and
        spleen worse by 0.01 to 0.04 Dice (docs/geometry.md). The box may reach beyond the volume.
        """
        axis = axis_along(geometry, np.cross(*self.half_edges))
        center = geometry.to_ijk(self.center)
        half = np.sqrt(((self.half_edges @ geometry.ras_to_ijk[:3, :3].T) ** 2).sum(axis=0))
        half[axis] = 0.0
        return axis, center - half, center + half


def patient_rectangle(first: npt.ArrayLike, second: npt.ArrayLike, geometry: Geometry) -> Rectangle | None:
    """The rectangle along R, A and S with two opposite corners (RAS, mm [3]); None when they do not mean one.

    They do when they lie in one axial, coronal or sagittal plane (to half a voxel) and the volume is turned against
    the patient. When they also lie in one slice of the volume, which is when it is turned within its slices, they
    mean a rectangle along the volume's axes if both are voxel centers, since such corners come from voxel indices.
    """
    corners = np.array([first, second], dtype=np.float64)
    flat = np.abs(corners[0] - corners[1]) < min(geometry.spacing) / 2
    if flat.sum() != 1 or not _is_turned(geometry):
        return None
    voxels = geometry.to_ijk(corners)
    in_one_slice = (np.floor(voxels[0] + 0.5) == np.floor(voxels[1] + 0.5)).any()
    if in_one_slice and np.abs(voxels - np.round(voxels)).max() < _WHOLE_VOXEL:
        return None
    half = (corners[1] - corners[0]) / 2
    edges = [np.where(np.arange(3) == axis, half, 0.0) for axis in np.flatnonzero(~flat)]
    return Rectangle(corners.mean(axis=0), np.array(edges))


def _is_turned(geometry: Geometry) -> bool:
    """Whether some voxel axis is off all patient axes by so much that it moves the volume's far end by half a voxel."""
    off_axis = 1.0 - np.abs(geometry.directions).max(axis=0)
    sine = np.sqrt(1.0 - (1.0 - off_axis) ** 2)
    extent = np.asarray(geometry.spacing) * np.asarray(geometry.shape_ijk)
    return bool((sine * extent).max() > min(geometry.spacing) / 2)
