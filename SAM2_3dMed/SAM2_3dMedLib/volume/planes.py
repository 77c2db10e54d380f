"""Slices of a volume as the network sees them: the one owner of canonical orientation and of network pixels.

Files store the same anatomy in 48 axis orders and flips. A `SlicePlane` turns every slice to the same anatomical
view, chosen by the nearest RAS axes, so that none of them changes what the network sees
(docs/decisions/0001-interfaces.md, Conventions):

    axial     columns toward Left,      rows toward Posterior,  slices toward Superior
    coronal   columns toward Left,      rows toward Inferior,   slices toward Posterior
    sagittal  columns toward Posterior, rows toward Inferior,   slices toward Left
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum
from itertools import permutations

import numpy as np
import numpy.typing as npt

from .errors import VolumeError
from .field_of_view import FieldOfView
from .geometry import FloatArray, Geometry


class SliceAxis(IntEnum):
    """A voxel axis along which slices are stacked. The numpy axis of an array [K, J, I] is 2 - value."""

    I = 0  # noqa: E741 - the name of the axis in Slicer
    J = 1
    K = 2

    @property
    def array_axis(self) -> int:
        """The axis of the numpy array [K, J, I]."""
        return 2 - int(self)


# RAS axes are 0 = R, 1 = A, 2 = S. For slices stacked along the key: (RAS axis, direction) of columns, rows and slice
# order.
_VIEWS = {
    0: ((1, -1), (2, -1), (0, -1)),
    1: ((0, -1), (2, -1), (1, -1)),
    2: ((0, -1), (1, -1), (2, +1)),
}
_ORIENTATIONS = ("sagittal", "coronal", "axial")
# Axis spacings closer than this share of one another are one spacing: headers carry rounding errors.
_SAME_SPACING = 1e-3


def nearest_patient_axes(ijk_to_ras: npt.ArrayLike) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """For an affine [4, 4]: the RAS axis (0 R, 1 A, 2 S) nearest to each of i, j, k, each used once, and the sign (+1
    or -1) of each along it.

    The assignment with the largest product of cosines wins. An exact 45 degree tie is decided by the signs of the
    off-axis cosines, which the order and the direction of the file's axes do not change.
    """
    columns = np.asarray(ijk_to_ras, dtype=np.float64)[:3, :3]
    cosines = columns / np.linalg.norm(columns, axis=0)

    def rank(assignment: tuple[int, ...]) -> tuple[float, ...]:
        r, a = (cosines[:, assignment.index(ras)] for ras in (0, 1))
        product = np.prod([abs(cosines[ras, ijk]) for ijk, ras in enumerate(assignment)])
        return tuple(np.round((product, r[0] * r[1], r[0] * r[2], a[1] * a[2]), 6))

    best = max(permutations(range(3)), key=rank)
    signs = tuple(1 if cosines[ras, ijk] > 0 else -1 for ijk, ras in enumerate(best))
    return best, signs  # type: ignore[return-value]


def axis_of_orientation(geometry: Geometry, orientation: str) -> SliceAxis:
    """The axis whose slices are nearest to "axial", "coronal" or "sagittal" in this volume.

    VolumeError for another word.
    """
    name = orientation.strip().lower()
    if name not in _ORIENTATIONS:
        raise VolumeError(f"'{orientation}' is not an orientation; use axial, coronal or sagittal.")
    axes, _ = nearest_patient_axes(geometry.ijk_to_ras)
    return SliceAxis(axes.index(_ORIENTATIONS.index(name)))


def acquisition_axis(geometry: Geometry) -> SliceAxis:
    """The axis across the slices as they were acquired: that of the largest spacing.

    Where several are largest, the axial one: a choice that is the same in every turned or flipped copy of a file.
    """
    largest = max(geometry.spacing)
    along = [axis for axis in SliceAxis if geometry.spacing[axis] >= largest * (1 - _SAME_SPACING)]
    return along[0] if len(along) == 1 else axis_of_orientation(geometry, "axial")


def axis_along(geometry: Geometry, normal_ras: npt.ArrayLike) -> SliceAxis:
    """The axis whose direction is nearest to a view's normal (RAS, any length): argmax of |IJK column . normal|."""
    return SliceAxis(int(np.argmax(np.abs(geometry.directions.T @ np.asarray(normal_ras, dtype=np.float64)))))


@dataclass(frozen=True)
class SlicePlane:
    """All slices of one volume along one axis. Build it with `SlicePlane.of(geometry, axis)`.

    Canonical pixels are (x, y) = (column, row) of the turned slice, pixel centers at integers. Network pixels are
    those of the slice stretched to size x size. "Array orientation" is the volume's array with the slice axis
    removed.

    With a `field` (see `within`) the canonical slice is that part of it: canonical and network pixels count from the
    field's corner, `to_canonical` cuts it out, and `restore` puts it back among zeros. Array orientation is always
    the whole slice.
    """

    axis: SliceAxis
    column_axis: SliceAxis
    row_axis: SliceAxis
    columns_flipped: bool
    rows_flipped: bool
    slices_flipped: bool
    orientation: str
    shape_ijk: tuple[int, int, int]
    spacing: tuple[float, float, float]
    field: FieldOfView | None = None

    @classmethod
    def of(cls, geometry: Geometry, axis: SliceAxis | int) -> SlicePlane:
        """The plane of the slices stacked along the voxel axis `axis`."""
        axis = SliceAxis(axis)
        ras_axes, signs = nearest_patient_axes(geometry.ijk_to_ras)
        stacked = ras_axes[axis]
        (column, row, _), (column_flipped, row_flipped, slice_flipped) = zip(
            *((SliceAxis(ras_axes.index(ras)), signs[ras_axes.index(ras)] != sign) for ras, sign in _VIEWS[stacked]),
            strict=True,
        )
        return cls(
            axis=axis,
            column_axis=column,
            row_axis=row,
            columns_flipped=column_flipped,
            rows_flipped=row_flipped,
            slices_flipped=slice_flipped,
            orientation=_ORIENTATIONS[stacked],
            shape_ijk=geometry.shape_ijk,
            spacing=geometry.spacing,
        )

    def within(self, field: FieldOfView | None) -> SlicePlane:
        """The same slices, of which only `field` is looked at; None: the whole slices again.

        ValueError when it reaches beyond the slice.
        """
        rows, columns = self.whole_shape
        if field is not None and (field.bottom > rows or field.right > columns):
            raise ValueError(f"The field {field} reaches beyond the slice of {rows} x {columns} pixels.")
        return replace(self, field=field)

    @property
    def slice_count(self) -> int:
        """Number of slices along the axis."""
        return self.shape_ijk[self.axis]

    @property
    def whole_shape(self) -> tuple[int, int]:
        """(rows, columns) of the whole slice, turned."""
        return self.shape_ijk[self.row_axis], self.shape_ijk[self.column_axis]

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns) of a canonical slice."""
        return self.whole_shape if self.field is None else self.field.shape

    @property
    def array_shape(self) -> tuple[int, int]:
        """Shape of a slice in array orientation."""
        first, second = (self.shape_ijk[axis] for axis in (SliceAxis.K, SliceAxis.J, SliceAxis.I) if axis != self.axis)
        return first, second

    @property
    def spacing_between_slices(self) -> float:
        """Distance in mm between neighboring slices."""
        return self.spacing[self.axis]

    @property
    def pixel_spacing(self) -> tuple[float, float]:
        """Distance in mm between neighboring (rows, columns) of a canonical slice."""
        return self.spacing[self.row_axis], self.spacing[self.column_axis]

    # Slices
    def order(self, index: int) -> int:
        """The position in anatomical order (toward Left, Posterior or Superior) of the slice `index`.

        Its own inverse; see `index_at`.
        """
        return self.slice_count - 1 - index if self.slices_flipped else index

    def index_at(self, position: int) -> int:
        """The slice index of a position in anatomical order: the inverse of `order`."""
        return self.order(position)

    def extract(self, array: npt.NDArray, index: int) -> npt.NDArray:
        """The slice `index` of a volume's array [K, J, I] in canonical orientation [rows, columns]: contiguous, a
        copy, same dtype.

        IndexError when index is not in 0..slice_count-1; ValueError when the array is not of this volume's shape.
        """
        if tuple(array.shape) != self.shape_ijk[::-1]:
            raise ValueError(f"The array {tuple(array.shape)} is not of the volume's shape {self.shape_ijk[::-1]}.")
        if not 0 <= index < self.slice_count:
            raise IndexError(f"Slice {index} is outside the volume: slices run from 0 to {self.slice_count - 1}.")
        return self.to_canonical(np.take(array, index, axis=self.axis.array_axis))

    def to_canonical(self, slice_array: npt.NDArray) -> npt.NDArray:
        """A slice (or a stack [..., H, W]) in array orientation, turned to canonical orientation: a contiguous copy."""
        turned = np.swapaxes(slice_array, -1, -2) if self._transposed else slice_array
        return self._part(self._flip(turned)).copy()

    def restore(self, canonical: npt.NDArray) -> npt.NDArray:
        """A canonical slice (or a stack [..., rows, columns]) turned back to array orientation: a contiguous copy.

        Inverse of `to_canonical`; zero outside of the field.
        """
        if self.field is not None:
            part, canonical = canonical, np.zeros((*canonical.shape[:-2], *self.whole_shape), canonical.dtype)
            self._part(canonical)[...] = part
        turned = self._flip(canonical)
        return (np.swapaxes(turned, -1, -2) if self._transposed else turned).copy()

    # Points and boxes
    def to_pixels(self, ijk: npt.ArrayLike) -> FloatArray:
        """Voxel positions [N, 3] to canonical pixels [N, 2], (x, y) = (column, row)."""
        positions = np.asarray(ijk, dtype=np.float64).reshape(-1, 3)
        x, y = positions[:, self.column_axis], positions[:, self.row_axis]
        return np.stack([self._mirror(x, self.column_axis), self._mirror(y, self.row_axis)], axis=1) - self._corner

    def from_pixels(self, xy: npt.ArrayLike, index: float | npt.ArrayLike) -> FloatArray:
        """Canonical pixels [N, 2] on slice `index` (one, or one a point) to voxel positions [N, 3]."""
        pixels = np.asarray(xy, dtype=np.float64).reshape(-1, 2) + self._corner
        ijk = np.empty((len(pixels), 3))
        ijk[:, self.axis] = index
        ijk[:, self.column_axis] = self._mirror(pixels[:, 0], self.column_axis)
        ijk[:, self.row_axis] = self._mirror(pixels[:, 1], self.row_axis)
        return ijk

    def to_network(self, ijk: npt.ArrayLike, size: int) -> FloatArray:
        """Voxel positions [N, 3] to network pixels [N, 2] (x, y) of the slice stretched to size x size: (x + 0.5) *
        size / width - 0.5.
        """
        return (self.to_pixels(ijk) + 0.5) * (size / self._width_height) - 0.5

    def to_ijk(self, xy: npt.ArrayLike, index: float | npt.ArrayLike, size: int) -> FloatArray:
        """Network pixels [N, 2] on slice `index` to voxel positions [N, 3], not rounded: inverse of `to_network`."""
        network = np.asarray(xy, dtype=np.float64).reshape(-1, 2)
        return self.from_pixels((network + 0.5) * (self._width_height / size) - 0.5, index)

    def box_to_network(
        self, corner_a: npt.ArrayLike, corner_b: npt.ArrayLike, size: int
    ) -> tuple[float, float, float, float]:
        """Two opposite corner voxels (i, j, k), both inside the box, to (x0, y0, x1, y1) in network pixels.

        The box covers whole voxels: inclusive columns x0..x1 become x0 * size / width .. (x1 + 1) * size / width - 1.
        Corners between voxels count for the voxel they lie in.
        """
        voxels = np.floor(self.to_pixels([corner_a, corner_b]) + 0.5)
        scale = size / self._width_height
        x0, y0 = (voxels.min(axis=0) * scale).tolist()
        x1, y1 = ((voxels.max(axis=0) + 1) * scale - 1).tolist()
        return (x0, y0, x1, y1)

    def box_to_ijk(self, box: npt.ArrayLike, index: int, size: int) -> tuple[FloatArray, FloatArray]:
        """(x0, y0, x1, y1) in network pixels to two corner voxels [3], not rounded: the inverse of `box_to_network`
        up to which corner is which.
        """
        x0, y0, x1, y1 = np.asarray(box, dtype=np.float64).tolist()
        scale = self._width_height / size
        corners = np.array([[x0, y0], [x1 + 1, y1 + 1]]) * scale - [[0, 0], [1, 1]]
        corner_a, corner_b = self.from_pixels(corners, index)
        return corner_a, corner_b

    # Inside
    @property
    def _width_height(self) -> FloatArray:
        return np.array(self.shape[::-1], dtype=np.float64)

    @property
    def _transposed(self) -> bool:
        # In array orientation the slower of the two remaining axes (the one later in i, j, k) is the first.
        return self.row_axis < self.column_axis

    @property
    def _corner(self) -> FloatArray:
        """(x, y) of the field's first pixel on the whole slice."""
        return np.zeros(2) if self.field is None else np.array([self.field.left, self.field.top], dtype=np.float64)

    def _part(self, whole: npt.NDArray) -> npt.NDArray:
        """The field's part of whole canonical slices: a view."""
        if self.field is None:
            return whole
        return whole[..., self.field.top : self.field.bottom, self.field.left : self.field.right]

    def _flip(self, turned: npt.NDArray) -> npt.NDArray:
        rows = slice(None, None, -1 if self.rows_flipped else 1)
        columns = slice(None, None, -1 if self.columns_flipped else 1)
        return turned[..., rows, columns]

    def _mirror(self, positions: FloatArray, axis: SliceAxis) -> FloatArray:
        flipped = self.columns_flipped if axis == self.column_axis else self.rows_flipped
        return self.shape_ijk[axis] - 1 - positions if flipped else positions
