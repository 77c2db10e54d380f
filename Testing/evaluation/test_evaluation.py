"""The evaluation against a session whose masks are known: are prompts, slices, axes and numbers the right ones?"""

from dataclasses import dataclass, field

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813  its customary name
from SAM2_3dMedLib.training import evaluation
from SAM2_3dMedLib.training.evaluation import EvaluationError, evaluate_case, read_cases
from SAM2_3dMedLib.training.metrics import dice, surface_score
from SAM2_3dMedLib.training.protocols import Protocol
from SAM2_3dMedLib.volume.planes import SliceAxis

HEADER = "split,dataset,case,modality,labels,image,label\n"
SPACING = (1.0, 4.0, 1.5)  # I, J, K: the slices were acquired along J


@dataclass
class Preview:
    mask: np.ndarray


@dataclass
class BoxSession:
    """Stands in for `VolumeSession`, which needs a network: the object is its box on every slice, and every click mends
    the slice it is on. It keeps what it was asked."""

    truth: dict[str, np.ndarray]
    asked: list = field(default_factory=list)
    found: dict[str, np.ndarray] = field(default_factory=dict)

    def add_box(self, name, axis, first, last):
        self.asked.append(("box", name, axis, first, last))
        mask = np.zeros_like(self.truth[name])
        window = [slice(int(a), int(b) + 1) for a, b in zip(first, last, strict=True)]
        window[axis] = slice(None)
        mask[tuple(reversed(window))] = True
        self.found[name] = mask
        return Preview(np.take(mask, int(first[axis]), axis=2 - axis))

    def add_point(self, name, axis, position, positive=True):
        self.asked.append(("point", name, axis, position, positive))
        index = int(position[axis])
        mask = self.found.setdefault(name, np.zeros_like(self.truth[name]))
        place = (slice(None),) * (2 - axis) + (index,)
        mask[place] = self.truth[name][place]
        return Preview(mask[place])

    def propagate(self, name):
        self.asked.append(("propagate", name))
        return iter(())

    def mask(self, name):
        return self.found[name].copy()

    def remove_object(self, name):
        del self.found[name]


@pytest.fixture
def truth():
    """A cone along J and a block beside it."""
    k, j, i = np.indices((20, 9, 24))
    cone = np.hypot(i - 7, (k - 9) * 1.5) <= j + 1
    block = (i >= 16) & (i < 20) & (j >= 2) & (j < 6) & (k >= 4) & (k < 12)
    return {"cone": cone & ~block, "block": block}


@pytest.fixture
def case(tmp_path, truth):
    labels = (truth["cone"] * 3 + truth["block"] * 5).astype(np.uint8)
    for name, array in (("image", labels.astype(np.int16) * 50), ("label", labels)):
        image = sitk.GetImageFromArray(array)
        image.SetSpacing(SPACING)
        sitk.WriteImage(image, str(tmp_path / f"{name}.nii.gz"))
    row = 'val,set,one,MR T2,"{""5"": ""block"", ""3"": ""cone"", ""9"": ""nowhere""}",image.nii.gz,label.nii.gz\n'
    (tmp_path / "manifest.csv").write_text(HEADER + row)
    (case,) = read_cases(tmp_path / "manifest.csv", tmp_path)
    return case


@pytest.fixture
def session(monkeypatch, truth):
    session = BoxSession(truth)
    monkeypatch.setattr(evaluation, "VolumeSession", lambda predictor, volume, window: session)
    return session


def test_box_protocol_prompts_the_largest_acquired_slice_and_measures_the_result(case, session, truth):
    results = {result.name: result for result in evaluate_case(None, case, Protocol.BOX)}
    assert list(results) == ["cone", "block"]  # by label; the one that is nowhere is left out
    kinds = [asked[0] for asked in session.asked]
    assert kinds == ["box", "propagate", "box", "propagate"]
    _, _, axis, first, last = session.asked[2]
    assert (axis, first[0], last[0], first[2], last[2]) == (SliceAxis.J, 16, 19, 4, 11)
    block, cone = results["block"], results["cone"]
    found = np.zeros_like(truth["block"])
    found[4:12, :, 16:20] = True
    assert (block.dice, block.axis, block.slices_missed, block.slices_leaked) == (
        dice(found, truth["block"]),
        "J",
        0,
        5,
    )
    surface = surface_score(found, truth["block"], SPACING)
    assert (block.hd95_mm, block.nsd_2mm) == (surface.hd95_mm, surface.nsd_2mm)
    assert block.hd95_mm == pytest.approx(12)  # three leaked slices of 4 mm
    assert block.prompted_slice_dice == 1
    assert block.ellipse_slice_dice < 0.95
    assert cone.slice_index == 8
    assert cone.worst_slice == 0
    assert cone.worst_slice_dice < 0.1
    assert cone.dice_by_clicks == (cone.dice,)
    assert cone.voxels == truth["cone"].sum()


def test_point_protocol_clicks_inside_and_gives_nothing_else(case, session, truth):
    list(evaluate_case(None, case, Protocol.POINT))
    points = [asked for asked in session.asked if asked[0] == "point"]
    assert [asked[1] for asked in points] == ["cone", "block"]
    for _, name, axis, position, positive in points:
        i, j, k = (int(value) for value in position)
        assert (axis, positive) == (SliceAxis.J, True)
        assert truth[name][k, j, i]
    assert len(session.asked) == 4


def test_corrections_go_on_until_nothing_is_wrong_or_five_were_given(case, session, truth):
    cone, block = evaluate_case(None, case, Protocol.CORRECTIONS)
    assert len(block.dice_by_clicks) == 6
    assert len(cone.dice_by_clicks) == 6
    assert list(block.dice_by_clicks) == sorted(block.dice_by_clicks)
    assert block.dice == block.dice_by_clicks[-1] == 1  # five leaked slices, five clicks
    assert cone.dice_by_clicks[0] < cone.dice < 1
    clicks = [asked for asked in session.asked if asked[0] == "point" and asked[1] == "block"]
    assert all(positive is False for *_, positive in clicks)
    assert len({position[SliceAxis.J] for _, _, _, position, _ in clicks}) == 5
    assert sum(asked[0] == "propagate" for asked in session.asked) == 12


def test_labels_of_another_shape_are_refused(case, session, tmp_path):
    sitk.WriteImage(sitk.GetImageFromArray(np.ones((20, 9, 23), dtype=np.uint8)), str(tmp_path / "label.nii.gz"))
    with pytest.raises(EvaluationError, match="one grid"):
        list(evaluate_case(None, case, Protocol.BOX))


def test_manifest_of_the_shared_data_is_read():
    from pathlib import Path

    root = Path(__file__).resolve().parents[3] / "shared" / "data"
    if not (root / "manifest.csv").is_file():
        pytest.skip("the shared data is not on this machine")
    cases = read_cases(root / "manifest.csv", root, split="val_unseen")
    assert {case.dataset for case in cases} == {"acdc", "btcv_ct", "la2018"}
    assert [case.spacing_known for case in cases if case.dataset == "acdc"] == [False] * 4
    btcv = next(case for case in cases if case.dataset == "btcv_ct")
    assert btcv.spacing_known
    assert "liver" in {name.lower() for name in btcv.labels.values()}


@pytest.mark.parametrize("protocol", list(Protocol))
def test_an_object_of_one_pixel_on_its_largest_slice_is_clicked(case, session, truth, protocol):
    truth["block"][:] = False
    truth["block"][7, 3:5, 20] = True  # two slices, one pixel each
    labels = (truth["cone"] & ~truth["block"]) * 3 + truth["block"] * 5
    image = sitk.GetImageFromArray(labels.astype(np.uint8))
    image.SetSpacing(SPACING)
    sitk.WriteImage(image, str(case.label))
    _, block = evaluate_case(None, case, protocol)
    first = next(asked for asked in session.asked if asked[1] == "block")
    assert first == ("point", "block", SliceAxis.J, (20, 3, 7), True)
    assert np.isfinite([block.dice, block.iou, block.hd95_mm, block.nsd_1mm, block.ellipse_slice_dice]).all()
