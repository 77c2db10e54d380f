"""Masks that are taken on the crop leave exactly the voxels that the Segment Editor leaves, in every mode."""

import itertools

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="needs the wheel slicer-core in its own environment")

import mrml  # noqa: E402
from SAM2_3dMedLib.slicer_side.segment_targets import EditorLogicTarget  # noqa: E402
from SAM2_3dMedLib.slicer_side.segment_writer import SegmentWriter  # noqa: E402
from SAM2_3dMedLib.slicer_side.volume_source import read_volume_source  # noqa: E402

SHAPE = (6, 24, 32)  # K, J, I
K = 2
AREAS = ("Everywhere", "InsideAllSegments", "OutsideAllSegments", "OutsideVisibleSegments", "InsideVisibleSegments")
MODES = [f"EditAllowed{area}" for area in (*AREAS, "InsideSingleSegment")]
RANGES = (None, (100.5, 1900.7), (-3.5, 640.0))
OVERWRITE = ("OverwriteNone", "OverwriteAllSegments", "OverwriteVisibleSegments")


def square(low, high):
    mask = np.zeros(SHAPE[1:], dtype=bool)
    mask[low : high + 1, low : high + 1] = True
    return mask


def written(mode, limits, overwrite, by_the_editor):
    """Three segments after two answers on a slice, the second smaller than the first: bool [3, K, J, I]."""
    rng = np.random.default_rng(3)
    volume = mrml.add_volume(rng.integers(-20, 2300, SHAPE).astype(np.int16), mrml.AXIAL_LPS)
    segmentation, segments = mrml.add_segmentation("one", "two", "hidden", reference=volume)
    segmentation.CreateDefaultDisplayNodes()
    segmentation.GetDisplayNode().SetSegmentVisibility(segments[2], False)
    editor = mrml.add_editor_node(segmentation, volume, segments[0])
    source, target = read_volume_source(volume), EditorLogicTarget(editor)
    writer = SegmentWriter(target)
    for segment, mask in ((segments[1], square(10, 15)), (segments[2], square(14, 20)), (segments[0], square(3, 5))):
        writer.begin_action(segmentation, segment, source)
        writer.write_slice(K, 3, mask)
        writer.end_action()
    writer.forget(segmentation)
    editor.SetMaskMode(getattr(slicer.vtkMRMLSegmentationNode, mode))
    editor.SetMaskSegmentID(segments[1])
    editor.SetOverwriteMode(getattr(editor, overwrite))
    if limits is not None:
        editor.SourceVolumeIntensityMaskOn()
        editor.SetSourceVolumeIntensityMaskRange(*limits)
    if by_the_editor:
        writer._masking.editable = lambda *arguments: None
    for mask in (square(4, 18), square(8, 12)):
        writer.begin_action(segmentation, segments[0], source)
        writer.write_slice(K, 3, mask)
        writer.end_action()
    return np.array([mrml.segment_array(segmentation, segment, volume) for segment in segments])


@pytest.mark.parametrize(("mode", "overwrite"), list(itertools.product(MODES, OVERWRITE)))
@pytest.mark.parametrize("limits", RANGES)
def test_the_result_is_that_of_the_editor(scene, mode, limits, overwrite):
    ours = written(mode, limits, overwrite, by_the_editor=False)
    editors = written(mode, limits, overwrite, by_the_editor=True)
    assert ours[0].any()
    assert [int(a) for a in ours.sum(axis=(1, 2, 3))] == [int(a) for a in editors.sum(axis=(1, 2, 3))]
    assert np.array_equal(ours, editors)


def test_nothing_editable_leaves_no_undo_step(scene):
    volume = mrml.add_volume(np.zeros(SHAPE, dtype=np.int16), mrml.AXIAL_LPS)
    segmentation, (one,) = mrml.add_segmentation("one", reference=volume)
    editor = mrml.add_editor_node(segmentation, volume, one)
    target = EditorLogicTarget(editor)
    writer = SegmentWriter(target)
    editor.SourceVolumeIntensityMaskOn()
    editor.SetSourceVolumeIntensityMaskRange(10, 20)
    writer.begin_action(segmentation, one, read_volume_source(volume))
    assert not writer.write_slice(K, 3, square(4, 9))
    writer.end_action()
    assert not target.can_undo
    editor.SetSourceVolumeIntensityMaskRange(-10, 20)
    writer.begin_action(segmentation, one, read_volume_source(volume))
    assert writer.write_slice(K, 3, square(4, 9))
    assert target.can_undo
