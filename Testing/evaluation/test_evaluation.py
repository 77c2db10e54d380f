"""The evaluation against a session whose masks are known: are prompts, slices, axes and numbers the right ones?"""

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813  its customary name
import torch
from SAM2_3dMedLib.propagation.confident_policy import ConfidentMemoryPolicy
from SAM2_3dMedLib.propagation.zoom import FieldChoice, Zoom
from SAM2_3dMedLib.training.evaluation import (
    EvaluationCase,
    EvaluationError,
    SessionSettings,
    evaluate_case,
    evaluate_variants,
    read_cases,
)
from SAM2_3dMedLib.training.evaluation.cases import open_case
from SAM2_3dMedLib.training.metrics import dice, surface_score
from SAM2_3dMedLib.training.protocols import Protocol
from SAM2_3dMedLib.volume.planes import SliceAxis

from .conftest import SPACING, NoPredictor


def results_of(case, protocol):
    return [evaluation.result for evaluation in evaluate_case(NoPredictor(), case, protocol)]


def test_the_session_gets_window_memory_policy_and_field(case, session):
    for evaluate, protocol in ((evaluate_case, Protocol.BOX), (evaluate_variants, Protocol.OFF_SLICE)):
        session.policy = None
        policy = ConfidentMemoryPolicy()
        settings = SessionSettings("30/60", policy, FieldChoice.WHOLE)
        next(iter(evaluate(NoPredictor(), case, protocol, settings)))
        assert (session.policy, session.zoom) == (policy, None)
        assert (session.window.lower, session.window.upper) == (0, 60)
        session.found.clear()
        next(iter(evaluate(NoPredictor(), case, protocol)))
        assert session.zoom == Zoom()
        session.found.clear()


def test_box_protocol_prompts_the_largest_acquired_slice_and_measures_the_result(case, session, truth):
    results = {result.name: result for result in results_of(case, Protocol.BOX)}
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
    assert 0 < cone.ellipsoid_dice < 1
    # The box goes on over all 9 slices, the block ends: 5 of 8 pairs differ by 1 (Dice 1 against 0).
    assert block.slice_consistency == pytest.approx(1 - 5 / 8)
    assert cone.voxels == truth["cone"].sum()


def test_point_protocol_clicks_inside_and_gives_nothing_else(case, session, truth):
    results_of(case, Protocol.POINT)
    points = [asked for asked in session.asked if asked[0] == "point"]
    assert [asked[1] for asked in points] == ["cone", "block"]
    for _, name, axis, position, positive in points:
        i, j, k = (int(value) for value in position)
        assert (axis, positive) == (SliceAxis.J, True)
        assert truth[name][k, j, i]
    assert len(session.asked) == 4


def test_corrections_go_on_until_nothing_is_wrong_or_five_were_given(case, session, truth):
    cone, block = results_of(case, Protocol.CORRECTIONS)
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
        results_of(case, Protocol.BOX)


@pytest.mark.parametrize(
    ("labels", "read"),
    [
        ('{"0": "background", "1": "a"}', {1: "a"}),
        ('{"1": null}', 'The label "1" in line 2 of .* has the name null'),
        ('{"1": {"organ": "a"}}', 'The label "1" in line 2 of .* has the name {"organ": "a"}'),
        ('["a"]', "line 2 of .* JSON table of numbers and names"),
        ("[" * 100_000, "line 2 of .* JSON table of numbers and names"),
    ],
    ids=["a table", "null", "a table in it", "a list", "endless brackets"],
)
def test_label_tables_of_a_manifest(tmp_path, labels, read):
    (tmp_path / "file").touch()
    row = f'val,d,c,CT,"{labels.replace(chr(34), chr(34) * 2)}",file,file\n'
    (tmp_path / "m.csv").write_text("split,dataset,case,modality,labels,image,label\n" + row)
    if isinstance(read, str):
        with pytest.raises(EvaluationError, match=read):
            read_cases(tmp_path / "m.csv", tmp_path)
    else:
        assert read_cases(tmp_path / "m.csv", tmp_path)[0].labels == read


@pytest.mark.filterwarnings("error")
def test_what_is_no_number_in_a_label_file_is_background(tmp_path):
    image = np.arange(60, dtype=np.float32).reshape(3, 4, 5)
    for name, array in (("i", image), ("l", np.where(image > 30, 1, np.nan).astype(np.float32))):
        sitk.WriteImage(sitk.GetImageFromArray(array), str(tmp_path / f"{name}.nrrd"))
    case = EvaluationCase("val", "d", "c", "MR", {1: "a"}, tmp_path / "i.nrrd", tmp_path / "l.nrrd")
    np.testing.assert_array_equal(open_case(case).labels, image > 30)


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
    _, block = results_of(case, protocol)
    first = next(asked for asked in session.asked if asked[1] == "block")
    assert first == ("point", "block", SliceAxis.J, (20, 3, 7), True)
    assert np.isfinite([block.dice, block.iou, block.hd95_mm, block.nsd_1mm, block.ellipse_slice_dice]).all()


def test_pictures_and_other_uses_get_what_the_result_was_made_from(case, session, truth):
    cone, _ = evaluate_case(NoPredictor(), case, Protocol.CORRECTIONS)
    assert [type(prompt).__name__ for prompt in cone.prompts] == ["BoxPrompt"] + ["PointPrompt"] * 5
    np.testing.assert_array_equal(cone.reference, truth["cone"])
    assert dice(cone.prediction, cone.reference) == cone.result.dice
    assert session.closed


def test_memory_is_told_on_a_gpu_only_and_for_each_object_anew(case, session, monkeypatch):
    """The card stands in: a reading for each object, after a reset."""
    calls = []
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: calls.append("reset"))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: calls.append("read") or len(calls) * 2**20)

    class OnGpu:
        device = torch.device("cuda", 0)

    assert [e.result.gpu_memory_mib for e in evaluate_case(OnGpu(), case, Protocol.BOX)] == [2.0, 4.0]
    assert calls == ["reset", "read"] * 2
    assert [result.gpu_memory_mib for result in results_of(case, Protocol.BOX)] == [None, None]
