"""The review strip: what it shows, where a click on it goes, and which slice is the next doubtful one."""

from pathlib import Path

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="needs the wheel slicer-core in its own environment")

from SAM2_3dMedLib.slicer_side import engine_settings  # noqa: E402
from SAM2_3dMedLib.slicer_side.review import ReviewState, SliceReview  # noqa: E402
from SAM2_3dMedLib.slicer_side.review_strip import DOUBT, ReviewStrip  # noqa: E402
from stand_in_worker import StandInWorker  # noqa: E402
from tool_bench import SHAPE, active_bench  # noqa: E402

CENTER = (SHAPE[2] // 2, SHAPE[1] // 2, SHAPE[0] // 2)


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.setattr(engine_settings.EngineSettings, "weights", property(lambda self: Path("stand-in")))
    made = active_bench(StandInWorker, ("Axial", "Sagittal"))
    view = made.views["Axial"]
    view.click(*view.display_position(made.world(*CENTER)))
    made.run()
    made.controller.propagate()
    made.run()
    yield made
    made.close()


def red_pixels(view):
    return (np.abs(view.picture()[-20:].astype(int) - DOUBT).max(axis=2) < 12).sum()


def test_strip_shows_doubtful_slices_in_the_view_along_the_axis_only(bench):
    assert red_pixels(bench.views["Axial"]) > 100
    assert red_pixels(bench.views["Sagittal"]) == 0


def test_click_on_the_strip_goes_to_the_slice_and_gives_no_prompt(bench):
    view = bench.views["Axial"]
    strip = ReviewStrip((400, 300))
    x = next(x for x in range(400) if strip.slice_at(x, 8, bench.controller.review) == 3)
    view.click(x + 5, 8)
    assert bench.session.current_index() == 3
    assert len(bench.controller.prompts) == 1
    assert bench.views["Axial"].node.GetSliceOffset() == pytest.approx(bench.world(0, 0, 3)[2], abs=1e-3)


def test_next_doubtful_goes_through_all_and_ends_when_they_are_checked(bench):
    # The stand-in's confidence falls by 0.1 for each slice: doubtful are those 5 or more slices away.
    expected = [i for i in range(SHAPE[0]) if abs(i - CENTER[2]) >= 5]
    assert bench.controller.review.doubtful() == expected
    assert bench.session.go_to_next_doubtful()
    assert bench.session.current_index() == CENTER[2] + 5
    seen = set()
    while bench.session.go_to_next_doubtful():
        seen.add(bench.session.current_index())
        bench.controller.set_checked(bench.session.current_index(), True)
    assert seen == set(expected)
    assert bench.controller.review.doubtful() == []


def test_a_prompt_marks_its_slice_as_checked(bench):
    bench.session.go_to_slice(2)
    assert 2 in bench.controller.review.doubtful()
    view = bench.views["Axial"]
    view.click(*view.display_position(bench.world(CENTER[0], CENTER[1], 2)))
    bench.run()
    assert bench.controller.review.is_done(2)
    assert 2 not in bench.controller.review.doubtful()


def test_checked_slices_are_kept_with_the_scene(bench):
    bench.controller.set_checked(4, True)
    bench.leave()
    bench.activate()
    assert 4 in bench.controller.review.checked


def test_bars_of_many_slices_stay_inside_the_view():
    review = ReviewState(axis=2, slice_count=900, slices={i: SliceReview(0.5) for i in range(900)})
    boxes, colors = ReviewStrip((300, 200)).rectangles(review, 450)
    assert len(boxes) == len(colors)
    assert boxes[:, [0, 2]].min() >= 0
    assert boxes[:, [0, 2]].max() <= 300
    assert boxes[:, [1, 3]].max() < 30


def test_slices_edited_by_hand_are_checked(bench):
    from test_controller import paint

    bench.run()
    assert 3 in bench.controller.review.doubtful()
    bench.leave()
    bench.run()
    paint(bench, "A", (2, 9, 2, 9, 3, 4))
    bench.activate()
    bench.run()
    assert bench.controller.review.checked == {3, 4}
    assert 3 not in bench.controller.review.doubtful()
