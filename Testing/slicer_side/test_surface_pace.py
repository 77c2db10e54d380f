"""The 3D surface of a segment while many slices are written: made now and then and at the end, not for each slice."""

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="needs the wheel slicer-core in its own environment")

from SAM2_3dMedLib.slicer_side.surface_pace import SurfacePace  # noqa: E402
from test_segment_writer import Bench, K, disk  # noqa: E402


class Clock:
    seconds = 100.0

    def __call__(self):
        return self.seconds


@pytest.fixture
def bench(scene):
    """Segment "one" fills slice 2, segment "two" a corner of the slices 2 to 8; both have surfaces."""
    made = Bench()
    made.clock = Clock()
    made.writer._surfaces = SurfacePace(made.clock)
    made.paint(made.two, (10, 20, 8, 20, 2, 8))
    made.write(made.one, (K, 2, disk(K)))
    made.segmentation.CreateClosedSurfaceRepresentation()
    return made


def surface(bench, segment):
    name = slicer.vtkSegmentationConverter.GetSegmentationClosedSurfaceRepresentationName()
    return bench.segmentation.GetSegmentation().GetSegment(segment).GetRepresentation(name)


def write(bench, slices, each=lambda: None):
    bench.writer.begin_action(bench.segmentation, bench.one, bench.source)
    for index in slices:
        bench.writer.write_slice(K, index, disk(K))
        each()


def height(bench, segment):
    """Extent (mm) of a surface along the slice axis."""
    low, high = surface(bench, segment).GetBounds()[4:]
    return high - low


def test_surfaces_are_not_made_for_every_slice_and_are_right_at_the_end(bench):
    times = set()
    write(bench, range(3, 9), lambda: times.add(surface(bench, bench.one).GetMTime()))
    assert len(times) == 1  # that of the first write
    bench.writer.end_action()
    at_once = Bench.voxels(bench, bench.one)
    assert np.flatnonzero(at_once.any(axis=(1, 2))).tolist() == list(range(2, 9))
    assert height(bench, bench.one) > 6 * 2.5 - 2.5  # slices are 2.5 mm apart


def test_a_neighbor_that_is_overwritten_has_its_surface_made_too(bench):
    before = surface(bench, bench.two).GetNumberOfPoints(), surface(bench, bench.two).GetMTime()
    write(bench, range(3, 9))
    bench.writer.end_action()
    assert not Bench.voxels(bench, bench.two)[3:9, 8:12, 10:14].any()  # overwriting is on by default
    assert surface(bench, bench.two).GetMTime() > before[1]
    assert surface(bench, bench.two).GetNumberOfPoints() != before[0]


def test_the_surface_grows_while_slices_are_written(bench):
    heights = []

    def later():
        bench.clock.seconds += 10
        heights.append(height(bench, bench.one))

    write(bench, range(3, 9), later)
    bench.writer.end_action()
    assert heights == sorted(heights)
    assert len(set(heights)) == len(heights)


def test_a_segment_without_a_surface_gets_none(scene):
    plain = Bench()
    write(plain, range(3, 9))
    plain.writer.end_action()
    assert surface(plain, plain.one) is None


def test_a_segment_that_is_deleted_meanwhile_is_forgotten(bench):
    write(bench, range(3, 6))
    bench.segmentation.GetSegmentation().RemoveSegment(bench.one)
    assert bench.writer.end_action().slices == 3
    assert surface(bench, bench.two) is not None


def test_undo_meanwhile_can_be_redone(bench):
    write(bench, range(3, 9))
    bench.target.undo()
    bench.writer.end_action()
    assert height(bench, bench.one) < 2 * 2.5  # the surface of that time
    assert bench.target.can_redo
