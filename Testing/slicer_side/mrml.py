"""A real MRML scene for the tests (wheel slicer-core): volumes with any geometry, segmentations, an editor node."""

from __future__ import annotations

import types

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="needs the wheel slicer-core in its own environment")
vtk = pytest.importorskip("vtk")
from vtk.util import numpy_support  # noqa: E402

AXIAL_LPS = np.diag([-0.8, -0.8, 2.5, 1.0])


def new_scene():
    """An empty scene with the logics that the parts under test need; set as slicer.mrmlScene."""
    scene = slicer.vtkMRMLScene()
    slicer.mrmlScene = scene
    application = slicer.vtkSlicerApplicationLogic()
    application.SetMRMLScene(scene)
    application.GetColorLogic().SetMRMLScene(scene)
    application.GetColorLogic().AddDefaultColorNodes()
    logics = []
    for name in ("Volumes", "Segmentations", "Markups", "SubjectHierarchy"):
        suffix = "Logic" if name in ("Volumes", "Markups") else "ModuleLogic"
        logic = getattr(slicer, f"vtkSlicer{name}{suffix}")()
        logic.SetMRMLScene(scene)
        logic.SetMRMLApplicationLogic(application)
        application.SetModuleLogic(name, logic)
        logics.append(logic)
    slicer.modules = types.SimpleNamespace(segmentations=types.SimpleNamespace(logic=lambda: logics[1]))
    return scene, application, logics


def to_matrix(array):
    matrix = vtk.vtkMatrix4x4()
    matrix.DeepCopy(np.asarray(array, dtype=float).ravel())
    return matrix


def add_volume(array, ijk_to_ras=AXIAL_LPS, name="CT", class_name="vtkMRMLScalarVolumeNode"):
    image = vtk.vtkImageData()
    components = array.shape[3] if array.ndim == 4 else 1
    image.SetDimensions(*array.shape[2::-1])
    values = numpy_support.numpy_to_vtk(np.ascontiguousarray(array).reshape(-1, components), deep=True)
    image.GetPointData().SetScalars(values)
    node = slicer.mrmlScene.AddNewNodeByClass(class_name, name)
    node.SetAndObserveImageData(image)
    node.SetIJKToRASMatrix(to_matrix(ijk_to_ras))
    return node


def add_segmentation(*names, reference=None):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Segmentation")
    node.CreateDefaultDisplayNodes()
    if reference is not None:
        node.SetReferenceImageGeometryParameterFromVolumeNode(reference)
    return node, [node.GetSegmentation().AddEmptySegment(name, name) for name in names]


def add_editor_node(segmentation, volume, segment_id):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentEditorNode")
    node.SetAndObserveSegmentationNode(segmentation)
    node.SetAndObserveSourceVolumeNode(volume)
    node.SetSelectedSegmentID(segment_id)
    return node


def add_linear_transform(array, name="Transform"):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", name)
    node.SetMatrixTransformToParent(to_matrix(array))
    return node


def add_bspline_transform(name="Warp"):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLBSplineTransformNode", name)
    node.SetAndObserveTransformToParent(slicer.vtkOrientedBSplineTransform())
    return node


def add_slice_node(normal, up, center=(0.0, 0.0, 0.0)):
    """A slice node whose plane has this normal and whose upward direction is `up` (both RAS)."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSliceNode")
    normal, up = np.asarray(normal, float), np.asarray(up, float)
    normal, up = normal / np.linalg.norm(normal), up / np.linalg.norm(up)
    across = np.cross(up, normal)
    matrix = np.eye(4)
    matrix[:3, 0], matrix[:3, 1], matrix[:3, 2], matrix[:3, 3] = across, up, normal, center
    node.GetSliceToRAS().DeepCopy(matrix.ravel())
    node.UpdateMatrices()
    return node


def segment_array(segmentation, segment_id, volume):
    """The segment on the volume's grid as Slicer itself resamples it, bool [K, J, I]."""
    from slicer import util

    return util.arrayFromSegmentBinaryLabelmap(segmentation, segment_id, volume).astype(bool)
