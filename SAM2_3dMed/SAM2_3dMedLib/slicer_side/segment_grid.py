"""The voxel grid of a segmentation, and slices of a volume laid into it.

A segmentation has its own grid (reference image geometry), which may differ from the source volume's in spacing,
direction, extent and parent transform. A voxel of the segmentation takes the value of the volume voxel that holds
its center, so that slices tile the segmentation without gap or overlap, whatever the two grids are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer
import vtk
from numpy.typing import NDArray
from vtk.util import numpy_support

from .translation import _
from .volume_source import VolumeSource, between, matrix_to_array

Extent = tuple[int, int, int, int, int, int]
_SAME_GRID = 1e-3  # voxels: two grids that differ by less than this everywhere are one grid


class WriteRefused(ValueError):  # noqa: N818 - named after what happened, as the interface page has it
    """The segmentation cannot be written: one sentence that says what to do."""


@dataclass(frozen=True)
class Region:
    """Part of a segmentation's grid: `extent` inclusive in its IJK, and one bool for each voxel [K, J, I]."""

    extent: Extent
    values: NDArray[np.bool_]

    def cropped(self) -> Region:
        """The part that holds every True voxel; ValueError when there is none."""
        ends = []
        for axis in (2, 1, 0):  # of the array: i, j, k
            others = tuple(other for other in (0, 1, 2) if other != axis)
            places = np.flatnonzero(self.values.any(axis=others))
            if not places.size:
                raise ValueError("an empty region cannot be cropped")
            ends.append((int(places[0]), int(places[-1])))
        (i0, i1), (j0, j1), (k0, k1) = ends
        i, j, k = self.extent[0::2]
        extent = (i + i0, i + i1, j + j0, j + j1, k + k0, k + k1)
        return Region(extent, self.values[k0 : k1 + 1, j0 : j1 + 1, i0 : i1 + 1])


@dataclass(frozen=True)
class SegmentGrid:
    """`to_local` 4x4: IJK of the segmentation's grid to the segmentation node's own space; `to_volume` 4x4: to the
    source volume's IJK.
    """

    extent: Extent
    to_local: NDArray[np.float64]
    to_volume: NDArray[np.float64]
    offset: tuple[int, int, int] | None  # volume IJK minus grid IJK where both are one lattice, else None
    volume_shape: tuple[int, int, int]  # I, J, K

    @property
    def shape_kji(self) -> tuple[int, int, int]:
        e = self.extent
        return e[5] - e[4] + 1, e[3] - e[2] + 1, e[1] - e[0] + 1

    def lay_slice(self, axis: int, index: int, mask: NDArray[np.bool_], box: NDArray[np.int64]) -> Region | None:
        """The slice's part of the grid inside `box` (volume IJK, [2, 3] inclusive), with the mask laid in; None
        when they do not meet.

        Voxels of the region that do not belong to the slice (other grid only) are left to the caller through
        `slice_voxels`.
        """
        extent = self._extent_of(box)
        if extent is None:
            return None
        if self.offset is not None:
            low = [extent[0] + self.offset[0], extent[2] + self.offset[1], extent[4] + self.offset[2]]
            high = [extent[1] + self.offset[0], extent[3] + self.offset[1], extent[5] + self.offset[2]]
            values = slice_part(mask, axis, low, high)
            return Region(extent, values)
        ijk = self._voxels(extent)
        return Region(extent, _sample(ijk, axis, index, mask, self.volume_shape))

    def slice_voxels(self, axis: int, index: int, extent: Extent) -> NDArray[np.bool_]:
        """Which voxels of an extent belong to a slice of the volume, bool [K, J, I]."""
        if self.offset is not None:
            shape = (extent[5] - extent[4] + 1, extent[3] - extent[2] + 1, extent[1] - extent[0] + 1)
            return np.ones(shape, dtype=bool)  # `lay_slice` gave an extent of this slice only
        ijk = self._voxels(extent)
        inside = np.all((ijk >= 0) & (ijk < np.asarray(self.volume_shape)), axis=-1)
        return inside & (ijk[..., axis] == index)

    def sample_to_slice(self, axis: int, index: int, region: Region) -> NDArray[np.bool_]:
        """The mask [rows, columns] of a slice of the volume that a region of the grid makes: value at each pixel's
        center.
        """
        shape = tuple(int(n) for n in np.delete(np.asarray(self.volume_shape[::-1]), 2 - axis))
        others = [other for other in (2, 1, 0) if other != axis]  # axis of the rows, axis of the columns
        if self.offset is not None:
            return self._crop_to_slice(axis, index, region, shape, others)
        rows, columns = np.indices(shape).reshape(2, -1)
        ijk = np.empty((rows.size, 3))
        ijk[:, axis], ijk[:, others[0]], ijk[:, others[1]] = index, rows, columns
        inverse = np.linalg.inv(self.to_volume)
        grid = np.floor(ijk @ inverse[:3, :3].T + inverse[:3, 3] + 0.5).astype(np.int64)
        low = np.array(region.extent[0::2])
        position = grid - low
        inside = np.all((position >= 0) & (position < np.array(region.values.shape[::-1])), axis=1)
        mask = np.zeros(rows.size, dtype=bool)
        i, j, k = position[inside].T
        mask[inside] = region.values[k, j, i]
        return mask.reshape(shape)

    def _crop_to_slice(
        self, axis: int, index: int, region: Region, shape: tuple[int, ...], others: list[int]
    ) -> NDArray[np.bool_]:
        """`sample_to_slice` for one lattice: a copy of the region's plane."""
        mask = np.zeros(shape, dtype=bool)
        low = np.array(region.extent[0::2]) + self.offset  # volume IJK
        plane = index - int(low[axis])
        values = np.moveaxis(region.values, 2 - axis, 0)
        if not 0 <= plane < values.shape[0]:
            return mask
        part = values[plane]
        row, column = int(low[others[0]]), int(low[others[1]])
        top, left = max(row, 0), max(column, 0)
        bottom, right = min(row + part.shape[0], shape[0]), min(column + part.shape[1], shape[1])
        if top < bottom and left < right:
            mask[top:bottom, left:right] = part[top - row : bottom - row, left - column : right - column]
        return mask

    def slice_extent(self, axis: int, index: int) -> Extent | None:
        """The extent of the grid that a whole slice of the volume reaches, None when it lies outside."""
        box = np.array([[0, 0, 0], np.asarray(self.volume_shape) - 1])
        box[:, axis] = index
        return self._extent_of(box)

    def meets(self, box: NDArray[np.int64]) -> bool:
        """Whether anything of a box (volume IJK, [2, 3] inclusive) can be written into the segmentation."""
        return self._extent_of(box) is not None

    def _extent_of(self, box: NDArray[np.int64]) -> Extent | None:
        if self.offset is not None:
            low, high = box[0] - self.offset, box[1] - self.offset
        else:
            ends = np.stack([box[0] - 0.5, box[1] + 0.5])
            corners = np.array([[ends[a, 0], ends[b, 1], ends[c, 2]] for a in (0, 1) for b in (0, 1) for c in (0, 1)])
            inverse = np.linalg.inv(self.to_volume)
            grid = corners @ inverse[:3, :3].T + inverse[:3, 3]
            low, high = np.floor(grid.min(axis=0)).astype(int), np.ceil(grid.max(axis=0)).astype(int)
        low = np.maximum(low, self.extent[0::2])
        high = np.minimum(high, self.extent[1::2])
        if np.any(low > high):
            return None
        return int(low[0]), int(high[0]), int(low[1]), int(high[1]), int(low[2]), int(high[2])

    def _voxels(self, extent: Extent) -> NDArray[np.int64]:
        """Volume IJK [K, J, I, 3] that hold the centers of an extent's voxels (also outside of the volume)."""
        k, j, i = np.meshgrid(
            np.arange(extent[4], extent[5] + 1),
            np.arange(extent[2], extent[3] + 1),
            np.arange(extent[0], extent[1] + 1),
            indexing="ij",
        )
        grid = np.stack([i, j, k], axis=-1).astype(float)
        return np.floor(grid @ self.to_volume[:3, :3].T + self.to_volume[:3, 3] + 0.5).astype(np.int64)


def slice_part(mask: NDArray[np.bool_], axis: int, low: list[int], high: list[int]) -> NDArray[np.bool_]:
    """The part low..high (volume IJK, inclusive) of a slice's mask as an array [K, J, I] with one voxel along the
    axis.
    """
    others = [other for other in (2, 1, 0) if other != axis]
    part = mask[low[others[0]] : high[others[0]] + 1, low[others[1]] : high[others[1]] + 1]
    return np.expand_dims(part, 2 - axis)


def grid_of(segmentation_node: Any, source: VolumeSource) -> SegmentGrid:
    """The grid that the Segment Editor uses; a segmentation without one gets the source volume's. WriteRefused,
    VolumeSourceError.
    """
    volume_node = source.node
    if volume_node is None:
        raise WriteRefused(_("The source volume was deleted: select another one."))
    text = reference_geometry(segmentation_node)
    if not text:
        segmentation_node.SetReferenceImageGeometryParameterFromVolumeNode(volume_node)
        text = reference_geometry(segmentation_node)
    image = slicer.vtkOrientedImageData()
    if not text or not slicer.vtkSegmentationConverter.DeserializeImageGeometry(text, image, False):
        sentence = _(
            "The segmentation has no valid geometry: set it with the button beside the source volume in the editor."
        )
        raise WriteRefused(sentence)
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    to_local = matrix_to_array(matrix)
    local_to_volume = between(
        segmentation_node.GetParentTransformNode(), volume_node.GetParentTransformNode(), segmentation_node
    )
    to_volume = np.linalg.inv(source.ijk_to_ras) @ local_to_volume @ to_local
    return SegmentGrid(
        tuple(image.GetExtent()), to_local, to_volume, _lattice_offset(to_volume, image.GetExtent()), source.shape_ijk
    )


def reference_geometry(segmentation_node: Any) -> str:
    name = slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName()
    return segmentation_node.GetSegmentation().GetConversionParameter(name) or ""


def oriented_image(grid: SegmentGrid, region: Region) -> Any:
    """A vtkOrientedImageData (unsigned char, 0 and 1) of a region, for the editor's logic."""
    image = slicer.vtkOrientedImageData()
    image.SetExtent(*region.extent)
    image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
    numpy_support.vtk_to_numpy(image.GetPointData().GetScalars())[:] = region.values.ravel()
    matrix = vtk.vtkMatrix4x4()
    matrix.DeepCopy(grid.to_local.ravel())
    image.SetGeometryFromImageToWorldMatrix(matrix)
    return image


def _sample(
    ijk: NDArray[np.int64], axis: int, index: int, mask: NDArray[np.bool_], volume_shape: tuple[int, int, int]
) -> NDArray[np.bool_]:
    others = [other for other in (2, 1, 0) if other != axis]
    inside = np.all((ijk >= 0) & (ijk < np.asarray(volume_shape)), axis=-1) & (ijk[..., axis] == index)
    values = np.zeros(ijk.shape[:3], dtype=bool)
    rows, columns = ijk[..., others[0]][inside], ijk[..., others[1]][inside]
    values[inside] = mask[rows, columns]
    return values


def _lattice_offset(to_volume: NDArray[np.float64], extent: Extent) -> tuple[int, int, int] | None:
    """Whole-voxel shift between the grids when they are the same lattice over all of the extent."""
    offset = np.round(to_volume[:3, 3])
    reach = max(abs(value) for value in extent) + 1
    straight = np.abs(to_volume[:3, :3] - np.eye(3)).max() * reach < _SAME_GRID
    if straight and np.abs(to_volume[:3, 3] - offset).max() < _SAME_GRID:
        return int(offset[0]), int(offset[1]), int(offset[2])
    return None
