"""Where voxels are in the patient: the one owner of every conversion between IJK, RAS and LPS.

IJK are voxel positions (i, j, k) with voxel centers at integers; RAS and LPS are millimeters, RAS as 3D Slicer and
NIfTI use it, LPS as ITK and DICOM use it. Affines are 4 x 4 float64 and may be oblique, left-handed or sheared, never
singular.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from .errors import VolumeError

FloatArray = npt.NDArray[np.float64]

NO_GRID = (
    "The image's spacing and directions do not describe a volume (zero spacing or parallel axes); correct its header "
    "or export it again."
)
_LPS_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def ras_from_lps(affine: npt.ArrayLike) -> FloatArray:
    """The IJK-to-RAS affine [4, 4] of an IJK-to-LPS affine. Its own inverse: `lps_from_ras` is the same product."""
    return _LPS_RAS @ np.asarray(affine, dtype=np.float64)


def lps_from_ras(affine: npt.ArrayLike) -> FloatArray:
    """The IJK-to-LPS affine [4, 4] of an IJK-to-RAS affine."""
    return _LPS_RAS @ np.asarray(affine, dtype=np.float64)


def affine_from_parts(origin: npt.ArrayLike, spacing: npt.ArrayLike, directions: npt.ArrayLike) -> FloatArray:
    """The affine [4, 4] of an origin (3, mm), a spacing (3, mm, order i, j, k) and directions [3, 3], one unit vector
    a column.
    """
    affine = np.eye(4)
    affine[:3, :3] = np.asarray(directions, dtype=np.float64).reshape(3, 3) * np.asarray(spacing, dtype=np.float64)
    affine[:3, 3] = np.asarray(origin, dtype=np.float64)
    return affine


@dataclass(frozen=True, eq=False)
class Geometry:
    """The grid of a volume.

    ijk_to_ras: affine [4, 4], mm. shape_ijk: number of voxels along i, j, k (numpy's shape reversed).
    Raises VolumeError when the affine is singular or not finite, or when the grid has no voxels.
    """

    ijk_to_ras: FloatArray
    shape_ijk: tuple[int, int, int]

    def __post_init__(self) -> None:
        affine = np.array(self.ijk_to_ras, dtype=np.float64)
        if affine.shape != (4, 4):
            raise VolumeError(f"The IJK-to-RAS matrix must be 4 x 4, but it is {affine.shape}.")
        shape = tuple(int(count) for count in self.shape_ijk)
        if len(shape) != 3 or min(shape) < 1:
            raise VolumeError(f"A volume needs three axes with at least one voxel each, but its shape is {shape}.")
        lengths = np.linalg.norm(affine[:3, :3], axis=0)
        # The determinant of the unit directions is the volume of their parallelepiped: 1 when orthogonal, 0 when flat.
        if not np.isfinite(affine).all() or lengths.min() <= 0 or abs(np.linalg.det(affine[:3, :3] / lengths)) < 1e-6:
            raise VolumeError(NO_GRID)
        affine.setflags(write=False)
        object.__setattr__(self, "ijk_to_ras", affine)
        object.__setattr__(self, "shape_ijk", shape)

    @cached_property
    def ras_to_ijk(self) -> FloatArray:
        """The inverse affine [4, 4]."""
        return np.linalg.inv(self.ijk_to_ras)

    @property
    def ijk_to_lps(self) -> FloatArray:
        """The affine [4, 4] in ITK's and DICOM's convention."""
        return lps_from_ras(self.ijk_to_ras)

    @property
    def shape_kji(self) -> tuple[int, int, int]:
        """The shape of the volume's numpy array [K, J, I]."""
        return self.shape_ijk[::-1]

    @cached_property
    def spacing(self) -> tuple[float, float, float]:
        """Distance in mm between neighboring voxels along i, j, k."""
        i, j, k = np.linalg.norm(self.ijk_to_ras[:3, :3], axis=0).tolist()
        return (i, j, k)

    @cached_property
    def directions(self) -> FloatArray:
        """Unit vectors of the i, j, k axes in RAS, one a column [3, 3]."""
        return self.ijk_to_ras[:3, :3] / np.asarray(self.spacing)

    @property
    def origin(self) -> tuple[float, float, float]:
        """RAS position in mm of the center of voxel (0, 0, 0)."""
        r, a, s = self.ijk_to_ras[:3, 3].tolist()
        return (r, a, s)

    @property
    def is_right_handed(self) -> bool:
        """Whether i, j, k turn like R, A, S; a mirrored (left-handed) file says False."""
        return bool(np.linalg.det(self.ijk_to_ras[:3, :3]) > 0)

    def to_ras(self, ijk: npt.ArrayLike) -> FloatArray:
        """Voxel positions [N, 3] (or [3]) to RAS mm of the same shape."""
        return _transform(self.ijk_to_ras, ijk)

    def to_ijk(self, ras: npt.ArrayLike) -> FloatArray:
        """RAS mm [N, 3] (or [3]) to voxel positions of the same shape, not rounded."""
        return _transform(self.ras_to_ijk, ras)

    def contains(self, ijk: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Whether positions [N, 3] (or [3]) lie in a voxel, bool [N] (or scalar).

        A voxel reaches from -0.5 up to, not including, +0.5.
        """
        positions = np.asarray(ijk, dtype=np.float64)
        return np.all((positions >= -0.5) & (positions < np.asarray(self.shape_ijk) - 0.5), axis=-1)

    def is_close(self, other: Geometry, tolerance_mm: float = 1e-3) -> bool:
        """Whether both grids have the same shape and all eight corner voxels within tolerance_mm of each other."""
        if self.shape_ijk != other.shape_ijk:
            return False
        corners = np.array(np.meshgrid(*[(0, count - 1) for count in self.shape_ijk])).reshape(3, 8).T
        return bool(np.abs(self.to_ras(corners) - other.to_ras(corners)).max() <= tolerance_mm)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Geometry):
            return NotImplemented
        return self.shape_ijk == other.shape_ijk and bool(np.array_equal(self.ijk_to_ras, other.ijk_to_ras))

    def __hash__(self) -> int:
        return hash((self.shape_ijk, self.ijk_to_ras.tobytes()))


def _transform(affine: FloatArray, points: npt.ArrayLike) -> FloatArray:
    positions = np.asarray(points, dtype=np.float64)
    if positions.shape[-1:] != (3,):
        raise ValueError(f"Positions must be [N, 3], not {positions.shape}.")
    return positions @ affine[:3, :3].T + affine[:3, 3]
