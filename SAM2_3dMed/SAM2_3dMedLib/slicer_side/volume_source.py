"""A volume node as the engine needs it, and the one owner of world <-> voxel conversions under parent transforms.

The engine gets the volume's own array and its own IJK-to-RAS matrix (the file's anatomy); parent transforms only
enter where positions come from or go to the views. So moving a volume with a transform keeps everything that was
encoded.
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

# More than this between the view's normal and the nearest slice axis is called oblique in the texts; prompts work
# the same way.
OBLIQUE_DEGREES = 10.0


class VolumeSourceError(ValueError):
    """The volume cannot be segmented with this tool: one sentence that says what to do."""


class PromptOutside(ValueError):  # noqa: N818 - named after what happened, as the interface page has it
    """The prompt lies outside the volume: one sentence."""


@dataclass(frozen=True)
class ViewSlice:
    """Where a click falls: `ijk` in voxels (float), the slice `index` along `axis` that holds it; `angle` in
    degrees between view and axis.
    """

    axis: int
    index: int
    ijk: tuple[float, float, float]
    angle: float
    oblique: bool


@dataclass(frozen=True, eq=False)
class VolumeSource:
    """`array` [K, J, I] is the node's own memory: never write to it. `ijk_to_ras` 4x4 has no parent transform in it."""

    volume_id: str
    node_id: str
    name: str
    array: NDArray
    ijk_to_ras: NDArray[np.float64]
    modality: str | None

    @property
    def node(self) -> Any | None:
        """The volume node, None when it was deleted."""
        return slicer.mrmlScene.GetNodeByID(self.node_id)

    @property
    def shape_ijk(self) -> tuple[int, int, int]:
        k, j, i = self.array.shape
        return i, j, k

    @property
    def geometry(self) -> Any:
        """volume.geometry.Geometry of the volume without parent transforms."""
        from ..volume.geometry import Geometry

        return Geometry(self.ijk_to_ras, self.shape_ijk)

    def ijk_to_world_matrix(self) -> NDArray[np.float64]:
        """4x4 with the parent transforms as they are now; VolumeSourceError when the node is gone or a transform is
        not linear.
        """
        node = self.node
        if node is None:
            raise VolumeSourceError(_("The source volume was deleted: select another one."))
        return parent_to_world(node) @ self.ijk_to_ras

    def world_to_ijk(self, points: NDArray) -> NDArray[np.float64]:
        """Voxel positions [N, 3] (i, j, k; float) of world positions [N, 3] in mm RAS."""
        return _transform(np.linalg.inv(self.ijk_to_world_matrix()), points)

    def ijk_to_world(self, points: NDArray) -> NDArray[np.float64]:
        """World positions [N, 3] in mm RAS of voxel positions [N, 3]."""
        return _transform(self.ijk_to_world_matrix(), points)

    def contains(self, ijk: NDArray) -> bool:
        """Whether a position lies in a voxel of the volume: voxels reach half a voxel around their center."""
        position = np.asarray(ijk, dtype=float).reshape(3)
        return bool(np.all(position >= -0.5) and np.all(position < np.asarray(self.shape_ijk) - 0.5))

    def view_axis(self, slice_node: Any) -> tuple[int, float]:
        """The slice axis nearest to the view's normal and the angle between them in degrees (0: the view shows
        whole slices).
        """
        normal = matrix_to_array(slice_node.GetSliceToRAS())[:3, 2]
        # A slice's own normal is at right angles to the other two axes: with a sheared transform this is not its
        # column.
        normals = np.linalg.inv(self.ijk_to_world_matrix()[:3, :3])
        cosines = np.abs(normals @ normal) / (np.linalg.norm(normals, axis=1) * max(np.linalg.norm(normal), 1e-12))
        axis = int(np.argmax(cosines))
        return axis, float(np.degrees(np.arccos(np.clip(cosines[axis], 0.0, 1.0))))

    def view_slice(self, slice_node: Any, world_point: NDArray) -> ViewSlice:
        """The slice a click in a view belongs to: nearest axis, through the exact voxel. PromptOutside when there
        is no voxel.

        In an oblique view the picture mixes slices, so a click still means one voxel; its own slice is the one that
        is segmented, and no resampled data ever reaches the model or the segment.
        """
        ijk = self.world_to_ijk(np.asarray(world_point, dtype=float).reshape(1, 3))[0]
        if not self.contains(ijk):
            sentence = _('The click lies outside the volume "{name}": click inside the image.')
            raise PromptOutside(sentence.format(name=self.name))
        axis, angle = self.view_axis(slice_node)
        index = int(np.clip(np.floor(ijk[axis] + 0.5), 0, self.shape_ijk[axis] - 1))
        return ViewSlice(axis, index, (float(ijk[0]), float(ijk[1]), float(ijk[2])), angle, angle > OBLIQUE_DEGREES)

    def box_in_view(
        self, slice_node: Any, corners_world: NDArray
    ) -> tuple[int, tuple[float, float, float], tuple[float, float, float]]:
        """(axis, corner_a, corner_b) in voxels of a rectangle drawn in a view, given by its corners [N, 3] in the
        world.

        All corners are converted, then minimum and maximum taken, clipped to the volume; the box lies on the slice
        through the rectangle's center. PromptOutside when nothing of it lies in the volume.
        """
        ijk = self.world_to_ijk(corners_world)
        axis, _angle = self.view_axis(slice_node)
        low, high = ijk.min(axis=0), ijk.max(axis=0)
        index = np.floor(ijk[:, axis].mean() + 0.5)
        last = np.asarray(self.shape_ijk, dtype=float) - 1.0
        outside = np.any(np.delete(high < -0.5, axis)) or np.any(np.delete(low > last + 0.5, axis))
        if outside or not 0 <= index <= last[axis]:
            sentence = _('The box lies outside the volume "{name}": draw it over the image.')
            raise PromptOutside(sentence.format(name=self.name))
        low, high = np.clip(low, 0.0, last), np.clip(high, 0.0, last)
        low[axis] = high[axis] = index
        return axis, tuple(float(value) for value in low), tuple(float(value) for value in high)

    def slice_center_world(self, axis: int, index: int) -> NDArray[np.float64]:
        """World position [3] of the center of a slice."""
        ijk = (np.asarray(self.shape_ijk, dtype=float) - 1.0) / 2.0
        ijk[axis] = index
        return self.ijk_to_world(ijk.reshape(1, 3))[0]


def read_volume_source(volume_node: Any) -> VolumeSource:
    """The source of a volume node; VolumeSourceError with one sentence when the tool cannot work on it."""
    if volume_node is None:
        raise VolumeSourceError(_("No source volume is selected: choose one above the segment list."))
    name = volume_node.GetName() or volume_node.GetID()
    if volume_node.IsA("vtkMRMLLabelMapVolumeNode"):
        sentence = _('"{name}" is a label map, not an image: select the image as source volume.')
        raise VolumeSourceError(sentence.format(name=name))
    if not volume_node.IsA("vtkMRMLScalarVolumeNode"):
        sentence = _('"{name}" is not a volume: select a CT or MR volume as source volume.')
        raise VolumeSourceError(sentence.format(name=name))
    image = volume_node.GetImageData()
    scalars = image.GetPointData().GetScalars() if image is not None else None
    if scalars is None or scalars.GetNumberOfTuples() == 0:
        sentence = _('The volume "{name}" holds no voxels: load it again or select another one.')
        raise VolumeSourceError(sentence.format(name=name))
    if scalars.GetNumberOfComponents() != 1:
        sentence = _(
            '"{name}" has {count} values in each voxel (color or vectors): '
            "convert it to a scalar volume with the module Vector to Scalar Volume."
        )
        raise VolumeSourceError(sentence.format(name=name, count=scalars.GetNumberOfComponents()))
    i, j, k = image.GetDimensions()
    if min(i, j, k) < 2:
        sentence = _('"{name}" is a single slice ({size} voxels): a 3D volume is needed.')
        raise VolumeSourceError(sentence.format(name=name, size=f"{i} x {j} x {k}"))
    parent_to_world(volume_node)  # refuses transforms that are not linear
    matrix = vtk.vtkMatrix4x4()
    volume_node.GetIJKToRASMatrix(matrix)
    ijk_to_ras = matrix_to_array(matrix)
    if abs(np.linalg.det(ijk_to_ras[:3, :3])) < 1e-9:
        sentence = _('The directions or spacings of "{name}" are not valid: repair them in the module Volumes.')
        raise VolumeSourceError(sentence.format(name=name))
    array = numpy_support.vtk_to_numpy(scalars).reshape(k, j, i)
    return VolumeSource(
        _volume_id(volume_node, scalars), volume_node.GetID(), name, array, ijk_to_ras, _modality(volume_node)
    )


def is_current(source: VolumeSource) -> bool:
    """Whether the node is still in the scene and holds the voxels that were read."""
    node = source.node
    image = node.GetImageData() if node is not None else None
    scalars = image.GetPointData().GetScalars() if image is not None else None
    return scalars is not None and _volume_id(node, scalars) == source.volume_id


def parent_to_world(node: Any) -> NDArray[np.float64]:
    """4x4 from a transformable node's own space to the world; VolumeSourceError when its transform is not linear."""
    return between(node.GetParentTransformNode(), None, node)


def between(source_transform: Any, target_transform: Any, node: Any) -> NDArray[np.float64]:
    """4x4 from the space under `source_transform` to the one under `target_transform` (None: world); `node` is
    named in the error.
    """
    if source_transform is target_transform:
        return np.eye(4)
    # GetMatrixTransformBetweenNodes would write an error to the log before it says no.
    general, linear = vtk.vtkGeneralTransform(), vtk.vtkTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(source_transform, target_transform, general)
    if not slicer.vtkMRMLTransformNode.IsGeneralTransformLinear(general, linear):
        raise VolumeSourceError(not_linear(node))
    return matrix_to_array(linear.GetMatrix())


def not_linear(node: Any) -> str:
    """What to say of a node whose transform is not linear."""
    sentence = _(
        '"{name}" is under a transform that is not linear: harden it (right-click in the module Data, '
        "Harden transform), then continue."
    )
    return sentence.format(name=node.GetName())


def matrix_to_array(matrix: vtk.vtkMatrix4x4) -> NDArray[np.float64]:
    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])


def _transform(matrix: NDArray, points: NDArray) -> NDArray[np.float64]:
    points = np.asarray(points, dtype=float).reshape(-1, 3)
    return points @ matrix[:3, :3].T + matrix[:3, 3]


def _volume_id(node: Any, scalars: Any) -> str:
    """Changes with the voxels: VTK's modification times never repeat while the application runs."""
    return f"{node.GetID()}:{max(scalars.GetMTime(), 0)}"


def _modality(node: Any) -> str | None:
    """ "CT" or "MR" where the scene says so (DICOM import sets the subject hierarchy's attribute), else None."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    item = hierarchy.GetItemByDataNode(node) if hierarchy is not None else 0
    if not item:
        return None
    value = hierarchy.GetItemAttribute(item, "DICOM.Modality") or ""
    return {"CT": "CT", "MR": "MR"}.get(value.upper())
