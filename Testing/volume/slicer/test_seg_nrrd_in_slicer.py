"""Slicer's own libraries open what we write: the same grid, voxels, names and colors.

Needs the wheel `slicer-core` (5.12.4 or newer), which brings its own vtk: use a virtual environment of its own, with
numpy, scipy, SimpleITK and pytest, and run `pytest Testing/volume`. Skipped where it is absent.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from SAM2_3dMedLib.volume.geometry import Geometry, affine_from_parts
from SAM2_3dMedLib.volume.images import SegmentInfo, read_volume, write_label_map
from SAM2_3dMedLib.volume.label_maps import write_segments
from scipy.spatial.transform import Rotation

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed")
vtk = pytest.importorskip("vtk")
numpy_support = pytest.importorskip("vtk.util.numpy_support")

INFOS = (
    SegmentInfo(1, "spinal cord", (0.9, 0.62, 0.0)),
    SegmentInfo(7, 'Größe \\ "x" := 2', (0.0, 0.25, 1.0)),
    SegmentInfo(4, "empty", (1.0, 1.0, 1.0)),
)
OBLIQUE = Rotation.from_euler("xyz", (12, -7, 25), degrees=True).as_matrix()


@pytest.fixture
def scene() -> Iterator[object]:
    scene = slicer.vtkMRMLScene()
    yield scene
    scene.Clear(1)


def load(scene: object, path: Path) -> object:
    """As the application does: a storage node reads the file into a segmentation node."""
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    storage = scene.AddNewNodeByClass("vtkMRMLSegmentationStorageNode")
    storage.SetFileName(str(path))
    assert storage.ReadData(node) == 1
    return node


def image_to_ras(image: object) -> np.ndarray:
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])


def mask_on_grid(node: object, segment_id: str, geometry: Geometry) -> np.ndarray:
    """The segment's voxels on `geometry`, placed by RAS position only, as Slicer stores crops with an extent of their
    own.
    """
    labels = slicer.vtkOrientedImageData()
    node.GetBinaryLabelmapRepresentation(segment_id, labels)
    mask = np.zeros(geometry.shape_kji, dtype=bool)
    extent = labels.GetExtent()
    if labels.GetPointData().GetScalars() is None or extent[0] > extent[1]:
        return mask
    shape = tuple(extent[2 * axis + 1] - extent[2 * axis] + 1 for axis in (2, 1, 0))
    values = numpy_support.vtk_to_numpy(labels.GetPointData().GetScalars()).reshape(shape)
    ijk = np.argwhere(values)[:, ::-1] + [extent[0], extent[2], extent[4]]
    if not len(ijk):
        return mask
    ras = ijk @ image_to_ras(labels)[:3, :3].T + image_to_ras(labels)[:3, 3]
    on_grid = geometry.to_ijk(ras)
    np.testing.assert_allclose(on_grid, np.rint(on_grid), atol=1e-3)
    i, j, k = np.rint(on_grid).astype(int).T
    mask[k, j, i] = True
    return mask


def check(node: object, masks: dict[int, np.ndarray], geometry: Geometry) -> None:
    segmentation = node.GetSegmentation()
    assert segmentation.GetNumberOfSegments() == len(INFOS)
    for number, info in enumerate(INFOS):
        segment = segmentation.GetNthSegment(number)
        assert segment.GetName() == info.name
        np.testing.assert_allclose(segment.GetColor(), info.color, atol=1e-6)
        shown = mask_on_grid(node, segmentation.GetNthSegmentID(number), geometry)
        np.testing.assert_array_equal(shown, masks[info.label])


def geometries(samples: Path) -> list[Geometry]:
    real = read_volume(samples / "spinalcord_t2_img.nii.gz").geometry
    shape = real.shape_ijk
    return [
        real,
        Geometry(affine_from_parts((-31.25, 8.5, 900), (0.7, 0.7, 5), OBLIQUE), shape),
        Geometry(affine_from_parts((-31.25, 8.5, 900), (0.7, 0.7, 5), OBLIQUE * [1, 1, -1]), shape),
    ]


@pytest.mark.parametrize("grid", [0, 1, 2], ids=["real", "oblique", "left-handed"])
def test_a_label_map_opens_in_slicer(samples: Path, tmp_path: Path, scene: object, grid: int) -> None:
    geometry = geometries(samples)[grid]
    labels = read_volume(samples / "spinalcord_t2_lab.nii.gz").array.astype(np.uint8)
    labels[5:9, 40:50, 2:30] = 7
    path = tmp_path / "out.seg.nrrd"
    write_label_map(path, labels, geometry, INFOS)
    check(load(scene, path), {info.label: labels == info.label for info in INFOS}, geometry)


@pytest.mark.parametrize("grid", [0, 1, 2], ids=["real", "oblique", "left-handed"])
def test_overlapping_segments_open_in_slicer(samples: Path, tmp_path: Path, scene: object, grid: int) -> None:
    geometry = geometries(samples)[grid]
    cord = read_volume(samples / "spinalcord_t2_lab.nii.gz").array > 0
    over = np.zeros_like(cord)
    over[10:40, 20:40, 20:40] = True
    assert (cord & over).any()
    masks = [cord, over, np.zeros_like(cord)]
    path = tmp_path / "out.seg.nrrd"
    write_segments(path, masks, geometry, INFOS)
    check(load(scene, path), {info.label: mask for info, mask in zip(INFOS, masks, strict=True)}, geometry)


def test_the_reference_grid_is_the_whole_image(samples: Path, tmp_path: Path, scene: object) -> None:
    geometry = geometries(samples)[0]
    labels = read_volume(samples / "spinalcord_t2_lab.nii.gz").array
    path = tmp_path / "out.seg.nrrd"
    write_label_map(path, labels, geometry, INFOS)
    segmentation = load(scene, path).GetSegmentation()
    stored = segmentation.GetConversionParameter("Reference image geometry")
    image = slicer.vtkOrientedImageData()
    assert slicer.vtkSegmentationConverter.DeserializeImageGeometry(stored, image)
    assert image.GetDimensions() == geometry.shape_ijk
    np.testing.assert_allclose(image_to_ras(image), geometry.ijk_to_ras, atol=1e-5)


def test_slicer_opens_the_volume_where_we_read_it(samples: Path, scene: object) -> None:
    path = samples / "spinalcord_t2_img.nii.gz"
    volume = read_volume(path)
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    storage = scene.AddNewNodeByClass("vtkMRMLVolumeArchetypeStorageNode")
    storage.SetFileName(str(path))
    assert storage.ReadData(node) == 1
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    slicers = np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])
    shown = numpy_support.vtk_to_numpy(node.GetImageData().GetPointData().GetScalars())
    shape = tuple(reversed(node.GetImageData().GetDimensions()))
    # Slicer may store a left-handed file flipped: compare by place.
    ijk = np.argwhere(volume.array == volume.array.max())[:1, ::-1]
    at = np.linalg.inv(slicers) @ np.append(volume.geometry.to_ras(ijk)[0], 1)
    i, j, k = np.rint(at[:3]).astype(int)
    assert shown.reshape(shape)[k, j, i] == volume.array.max()
