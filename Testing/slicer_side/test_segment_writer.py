"""What the model writes into a segment, through the real editor logic: undo, masking, overwrite modes, other grids,
the user's hand.
"""

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="needs the wheel slicer-core in its own environment")

import mrml  # noqa: E402
from SAM2_3dMedLib.slicer_side.segment_targets import EditorLogicTarget  # noqa: E402
from SAM2_3dMedLib.slicer_side.segment_writer import SegmentWriter, TargetGone, WriteMode, WriteRefused  # noqa: E402
from SAM2_3dMedLib.slicer_side.volume_source import read_volume_source  # noqa: E402
from SAM2_3dMedLib.slicer_side.written_registry import WrittenRegistry  # noqa: E402

I, J, K = 0, 1, 2  # noqa: E741
SHAPE = (10, 24, 32)  # K, J, I


class Bench:
    """A volume, a segmentation with two segments, the writer."""

    def __init__(self, ijk_to_ras=mrml.AXIAL_LPS, reference=True):
        array = np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE)
        self.volume = mrml.add_volume(array, ijk_to_ras)
        self.source = read_volume_source(self.volume)
        self.segmentation, (self.one, self.two) = mrml.add_segmentation(
            "one", "two", reference=self.volume if reference else None
        )
        self.editor = mrml.add_editor_node(self.segmentation, self.volume, self.one)
        self.target = EditorLogicTarget(self.editor)
        self.writer = SegmentWriter(self.target)

    def write(self, segment, *slices):
        self.writer.begin_action(self.segmentation, segment, self.source)
        for axis, index, mask in slices:
            self.writer.write_slice(axis, index, mask)
        return self.writer.end_action()

    def voxels(self, segment):
        return mrml.segment_array(self.segmentation, segment, self.volume)

    def paint(self, segment, extent, add=True):
        """The user's own brush: the editor logic on an extent of the volume's grid (needs the volume as reference)."""
        from SAM2_3dMedLib.slicer_side.segment_grid import Region, grid_of, oriented_image

        shape = (extent[5] - extent[4] + 1, extent[3] - extent[2] + 1, extent[1] - extent[0] + 1)
        image = oriented_image(grid_of(self.segmentation, self.source), Region(extent, np.ones(shape, dtype=bool)))
        self.target.save_state()
        (self.target.add if add else self.target.remove)(self.segmentation, segment, image)


@pytest.fixture
def bench(scene):
    return Bench()


def disk(axis, rows=slice(5, 12), columns=slice(6, 14)):
    mask = np.zeros(np.delete(SHAPE, 2 - axis), dtype=bool)
    mask[rows, columns] = True
    return mask


@pytest.mark.parametrize("axis", [I, J, K])
def test_a_slice_of_any_axis_lands_on_its_own_voxels(bench, axis):
    mask = disk(axis, rows=slice(2, 7))
    mask[2, 6] = False
    assert bench.write(bench.one, (axis, 4, mask)).added == mask.sum()
    expected = np.zeros(SHAPE, dtype=bool)
    np.moveaxis(expected, 2 - axis, 0)[4] = mask
    assert np.array_equal(bench.voxels(bench.one), expected)
    assert np.array_equal(bench.writer.slice_mask(bench.segmentation, bench.one, bench.source, axis, 4), mask)
    slices = dict(bench.writer.slice_steps(bench.segmentation, bench.one, bench.source, axis))
    assert [index for index, found in slices.items() if found.any()] == [4]
    assert np.array_equal(slices[4], mask)


def test_one_action_is_one_undo_step_and_redo_brings_it_back(bench):
    bench.write(bench.one, *[(K, k, disk(K)) for k in range(3, 7)])
    full = bench.voxels(bench.one)
    assert full.sum() == 4 * disk(K).sum()
    bench.target.undo()
    assert not bench.voxels(bench.one).any()
    bench.target.redo()
    assert np.array_equal(bench.voxels(bench.one), full)


def test_after_undo_the_same_answer_is_written_again(bench):
    bench.write(bench.one, (K, 3, disk(K)))
    bench.write(bench.one, (K, 3, disk(K, columns=slice(6, 20))))
    bench.target.undo()
    assert bench.voxels(bench.one).sum() == disk(K).sum()
    bench.write(bench.one, (K, 3, disk(K, columns=slice(6, 20))))
    assert bench.voxels(bench.one).sum() == disk(K, columns=slice(6, 20)).sum()


def test_after_redo_a_smaller_answer_still_erases(bench):
    bench.write(bench.one, (K, 3, disk(K)))
    bench.target.undo()
    bench.target.redo()
    bench.write(bench.one, (K, 3, disk(K, columns=slice(6, 9))))
    assert np.array_equal(bench.voxels(bench.one)[3], disk(K, columns=slice(6, 9)))


def test_the_last_answer_wins_over_the_earlier_ones(bench):
    bench.write(bench.one, (K, 3, disk(K)), (K, 4, disk(K)))
    summary = bench.write(bench.one, (K, 3, disk(K, rows=slice(8, 15))), (K, 4, np.zeros_like(disk(K))))
    assert np.array_equal(bench.voxels(bench.one)[3], disk(K, rows=slice(8, 15)))
    assert not bench.voxels(bench.one)[4].any()
    assert summary.slices == 2
    assert summary.erased == 3 * 8 + disk(K).sum()


def test_an_answer_on_another_axis_is_replaced_by_the_slices_it_crosses(bench):
    bench.write(bench.one, (I, 10, disk(I, rows=slice(2, 8), columns=slice(4, 20))))
    bench.write(bench.one, *[(K, k, disk(K)) for k in range(2, 8)])
    voxels = bench.voxels(bench.one)
    assert all(np.array_equal(voxels[k], disk(K)) for k in range(2, 8))


def test_what_the_user_painted_is_never_erased(bench):
    bench.paint(bench.one, (6, 9, 5, 11, 3, 3))
    bench.write(bench.one, (K, 3, disk(K)))
    bench.paint(bench.one, (20, 25, 5, 11, 3, 3))
    bench.write(bench.one, (K, 3, np.zeros_like(disk(K))))
    expected = np.zeros(SHAPE, dtype=bool)
    expected[3, 5:12, 6:10] = expected[3, 5:12, 20:26] = True
    assert np.array_equal(bench.voxels(bench.one), expected)


def test_what_the_user_erased_stays_erased(bench):
    bench.write(bench.one, (K, 3, disk(K)))
    bench.paint(bench.one, (6, 9, 5, 11, 3, 3), add=False)
    bench.write(bench.one, (K, 3, disk(K)), (K, 4, disk(K)))
    assert np.array_equal(bench.voxels(bench.one)[3], disk(K, columns=slice(10, 14)))
    assert np.array_equal(bench.voxels(bench.one)[4], disk(K))


def test_a_segment_that_the_user_emptied_is_filled_again(bench):
    bench.write(bench.one, (K, 3, disk(K)))
    bench.paint(bench.one, (0, 31, 0, 23, 0, 9), add=False)
    bench.write(bench.one, (K, 3, disk(K)))
    assert np.array_equal(bench.voxels(bench.one)[3], disk(K))


def test_forgotten_voxels_belong_to_the_user(bench):
    bench.write(bench.one, (K, 3, disk(K)))
    bench.writer.forget(bench.segmentation, bench.one)
    bench.write(bench.one, (K, 3, np.zeros_like(disk(K))))
    assert np.array_equal(bench.voxels(bench.one)[3], disk(K))


@pytest.mark.parametrize(("mode", "kept"), [("OverwriteNone", True), ("OverwriteAllSegments", False)])
def test_a_neighbor_changes_only_as_the_overwrite_mode_says(bench, mode, kept):
    bench.paint(bench.two, (6, 9, 5, 11, 3, 3))
    neighbor = bench.voxels(bench.two)
    bench.editor.SetOverwriteMode(getattr(bench.editor, mode))
    bench.write(bench.one, (K, 3, disk(K)))
    assert np.array_equal(bench.voxels(bench.one)[3], disk(K))
    assert np.array_equal(bench.voxels(bench.two), neighbor) is kept
    bench.target.undo()
    assert np.array_equal(bench.voxels(bench.two), neighbor)


def test_editable_area_is_respected_and_tried_again_when_it_is_lifted(bench):
    bench.paint(bench.two, (6, 9, 5, 11, 3, 3))
    bench.editor.SetMaskMode(slicer.vtkMRMLSegmentationNode.EditAllowedOutsideAllSegments)
    bench.write(bench.one, (K, 3, disk(K)))
    assert np.array_equal(bench.voxels(bench.one)[3], disk(K, columns=slice(10, 14)))
    assert bench.voxels(bench.two).sum() == 4 * 7
    bench.editor.SetMaskMode(slicer.vtkMRMLSegmentationNode.EditAllowedEverywhere)
    bench.write(bench.one, (K, 3, disk(K)))
    assert np.array_equal(bench.voxels(bench.one)[3], disk(K))


def test_intensity_range_is_respected(bench):
    values = bench.source.array[3]
    low, high = float(values[7, 0]), float(values[9, 31])
    bench.editor.SourceVolumeIntensityMaskOn()
    bench.editor.SetSourceVolumeIntensityMaskRange(low, high)
    bench.write(bench.one, (K, 3, disk(K)))
    assert np.array_equal(bench.voxels(bench.one)[3], disk(K) & (values >= low) & (values <= high))


def test_an_editor_goes_on_where_another_one_stopped(bench):
    registry = WrittenRegistry()
    first, second = SegmentWriter(bench.target, registry), SegmentWriter(bench.target, registry)
    for writer, mask in ((first, disk(K)), (second, disk(K, slice(5, 9)))):
        writer.begin_action(bench.segmentation, bench.one, bench.source)
        writer.write_slice(K, 3, mask)
        writer.end_action()
    assert (bench.voxels(bench.one)[3] == disk(K, slice(5, 9))).all()


def test_only_the_crop_is_handed_to_the_editor(bench):
    extents = []
    target, add = bench.target, bench.target.add
    target.add = lambda node, segment, image: (extents.append(image.GetExtent()), add(node, segment, image))
    bench.write(bench.one, (K, 3, disk(K)))
    assert extents == [(6, 13, 5, 11, 3, 3)]


def test_a_replaced_slice_hands_over_what_changes_and_the_views_hear_of_it_once(bench):
    bench.paint(bench.one, (6, 13, 5, 11, 3, 3))
    extents, heard = [], []
    target, add, remove = bench.target, bench.target.add, bench.target.remove
    target.add = lambda node, segment, image: (extents.append(image.GetExtent()), add(node, segment, image))
    target.remove = lambda node, segment, image: (extents.append(image.GetExtent()), remove(node, segment, image))
    event = bench.segmentation.GetSegmentation().SourceRepresentationModified
    tag = bench.segmentation.AddObserver(event, lambda node, _event: heard.append(node))
    bench.writer.begin_action(bench.segmentation, bench.one, bench.source, WriteMode.REPLACE)
    bench.writer.write_slice(K, 3, disk(K, slice(6, 13)))
    bench.writer.end_action()
    bench.segmentation.RemoveObserver(tag)
    assert extents == [(6, 13, 12, 12, 3, 3), (6, 13, 5, 5, 3, 3)]
    assert len(heard) == 1
    assert (bench.voxels(bench.one)[3] == disk(K, slice(6, 13))).all()


def test_deleted_segment_and_segmentation_end_with_one_sentence(bench):
    bench.writer.begin_action(bench.segmentation, bench.one, bench.source)
    bench.segmentation.GetSegmentation().RemoveSegment(bench.one)
    with pytest.raises(TargetGone, match="segment was deleted"):
        bench.writer.write_slice(K, 3, disk(K))
    bench.writer.end_action()
    bench.writer.forget_missing()
    bench.writer.begin_action(bench.segmentation, bench.two, bench.source)
    slicer.mrmlScene.RemoveNode(bench.segmentation)
    with pytest.raises(TargetGone, match="segmentation was deleted"):
        bench.writer.write_slice(K, 3, disk(K))
    assert bench.writer.end_action().slices == 0


def test_a_segmentation_of_surfaces_is_refused_with_a_way_out(bench):
    bench.write(bench.one, (K, 3, disk(K)))
    bench.segmentation.CreateClosedSurfaceRepresentation()
    bench.segmentation.SetSourceRepresentationToClosedSurface()
    with pytest.raises(WriteRefused, match="Binary labelmap"):
        bench.writer.begin_action(bench.segmentation, bench.one, bench.source)


def test_an_answer_that_changes_nothing_leaves_no_undo_step(bench):
    bench.write(bench.one, (K, 3, disk(K)))
    bench.write(bench.one, (K, 3, disk(K)), (K, 5, np.zeros_like(disk(K))))
    bench.target.undo()
    assert not bench.voxels(bench.one).any()
    assert not bench.target.can_undo


def test_the_volume_is_not_changed(bench):
    before = bench.source.array.copy()
    bench.write(bench.one, *[(K, k, disk(K)) for k in range(10)])
    assert np.array_equal(read_volume_source(bench.volume).array, before)
    assert read_volume_source(bench.volume).volume_id == bench.source.volume_id
