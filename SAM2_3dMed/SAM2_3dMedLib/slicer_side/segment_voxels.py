"""Reads a segment's voxels on the segmentation's grid, a crop at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
import vtk
from numpy.typing import NDArray
from vtk.util import numpy_support

from .segment_grid import Extent, Region, SegmentGrid, oriented_image
from .volume_source import matrix_to_array

_SAME_MATRIX = 1e-4


def read_voxels(segmentation_node: Any, segment_id: str, grid: SegmentGrid, extent: Extent) -> NDArray[np.bool_]:
    """The segment's voxels in `extent` of the grid, bool [K, J, I]; outside of what is stored they are False."""
    values = np.zeros((extent[5] - extent[4] + 1, extent[3] - extent[2] + 1, extent[1] - extent[0] + 1), dtype=bool)
    stored = _stored(segmentation_node, segment_id)
    if stored is None:
        return values
    image, label = stored
    if not _same_lattice(image, grid):
        image = _resampled(image, label, grid, extent)
        label = 1
    low = [max(a, b) for a, b in zip(extent[0::2], image.GetExtent()[0::2], strict=True)]
    high = [min(a, b) for a, b in zip(extent[1::2], image.GetExtent()[1::2], strict=True)]
    if any(a > b for a, b in zip(low, high, strict=True)):
        return values
    array = _array(image)
    start = image.GetExtent()[0::2]
    source = tuple(slice(low[axis] - start[axis], high[axis] - start[axis] + 1) for axis in (2, 1, 0))
    target = tuple(slice(low[axis] - extent[2 * axis], high[axis] - extent[2 * axis] + 1) for axis in (2, 1, 0))
    values[target] = array[source] == label
    return values


def _stored(segmentation_node: Any, segment_id: str) -> tuple[Any, int] | None:
    """The stored label map and the segment's value in it; None when there is no voxel."""
    name = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
    segment = segmentation_node.GetSegmentation().GetSegment(segment_id)
    image = segment.GetRepresentation(name) if segment is not None else None
    if image is None or image.GetPointData().GetScalars() is None or image.IsEmpty():
        return None
    return image, int(segment.GetLabelValue())


def _array(image: Any) -> NDArray:
    e = image.GetExtent()
    return numpy_support.vtk_to_numpy(image.GetPointData().GetScalars()).reshape(
        e[5] - e[4] + 1, e[3] - e[2] + 1, e[1] - e[0] + 1
    )


def _same_lattice(image: Any, grid: SegmentGrid) -> bool:
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    return bool(np.allclose(matrix_to_array(matrix), grid.to_local, atol=_SAME_MATRIX))


def _resampled(image: Any, label: int, grid: SegmentGrid, extent: Extent) -> Any:
    """The label map of a segment on another grid, resampled (nearest neighbor) to `extent` of ours; values 0 and 1.

    Only the part around `extent` is looked at: one slice of a large label map takes some ms and not a hundred.
    """
    only = _cropped(image, label, grid, extent)
    shape = (extent[5] - extent[4] + 1, extent[3] - extent[2] + 1, extent[1] - extent[0] + 1)
    reference = oriented_image(grid, Region(extent, np.zeros(shape, dtype=bool)))
    if only is None:
        return reference
    output = slicer.vtkOrientedImageData()
    slicer.vtkOrientedImageDataResample.ResampleOrientedImageToReferenceOrientedImage(
        only, reference, output, False, False
    )
    return output


def _cropped(image: Any, label: int, grid: SegmentGrid, extent: Extent) -> Any:
    """The voxels of `label` around `extent` of our grid, on the label map's own grid; None: it does not reach there."""
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    ends = np.asarray(extent, dtype=float).reshape(3, 2) + np.array([-0.5, 0.5])
    corners = np.stack(np.meshgrid(*ends, indexing="ij"), axis=-1).reshape(-1, 3)
    to_image = np.linalg.inv(matrix_to_array(matrix)) @ grid.to_local
    corners = corners @ to_image[:3, :3].T + to_image[:3, 3]
    stored = np.asarray(image.GetExtent()).reshape(3, 2)
    low = np.maximum(np.floor(corners.min(axis=0)).astype(int) - 1, stored[:, 0])
    high = np.minimum(np.ceil(corners.max(axis=0)).astype(int) + 1, stored[:, 1])
    if (low > high).any():
        return None
    part = tuple(slice(low[axis] - stored[axis, 0], high[axis] - stored[axis, 0] + 1) for axis in (2, 1, 0))
    only = slicer.vtkOrientedImageData()
    only.SetExtent(*(int(value) for value in np.stack([low, high], axis=1).ravel()))
    only.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
    numpy_support.vtk_to_numpy(only.GetPointData().GetScalars())[:] = (_array(image)[part] == label).ravel()
    only.SetGeometryFromImageToWorldMatrix(matrix)
    return only
