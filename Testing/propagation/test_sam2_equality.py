"""With SAM2's own policy, one prompted slice gives the masks of SAM2VideoPredictor, forward and in reverse."""

from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
import torch
from sam2.sam2_video_predictor import SAM2VideoPredictor
from SAM2_3dMedLib.commands.benchmark_reference import video_predictor_on
from SAM2_3dMedLib.propagation.policies import BracketedMemoryPolicy, Sam2MemoryPolicy
from SAM2_3dMedLib.propagation.predictor import SlicePredictor
from SAM2_3dMedLib.propagation.session import VolumeSession
from SAM2_3dMedLib.propagation.stopping import StopRule
from SAM2_3dMedLib.volume.images import Volume
from SAM2_3dMedLib.volume.planes import SliceAxis

AXIS = SliceAxis.K
INDEX = 9
CORNERS = ((22, 14, INDEX), (51, 41, INDEX))
CLICKS = (((33.0, 20.0, INDEX), True), ((60.0, 50.0, INDEX), False), ((40.0, 30.0, INDEX), True))


def _inference_state(session: VolumeSession) -> dict[str, Any]:
    """What `init_state` makes of a video, made from the session's own prepared slices."""
    plane = session._store.plane(AXIS)
    pictures = [session._store.image(AXIS, position) for position in range(plane.slice_count)]
    images = torch.cat([session.predictor.prepare([picture]) for picture in pictures])
    device = torch.device("cpu")
    return {
        "images": images,
        "num_frames": len(images),
        "offload_video_to_cpu": False,
        "offload_state_to_cpu": False,
        "video_height": pictures[0].shape[0],
        "video_width": pictures[0].shape[1],
        "device": device,
        "storage_device": device,
        "point_inputs_per_obj": {},
        "mask_inputs_per_obj": {},
        "cached_features": {},
        "constants": {},
        "obj_id_to_idx": OrderedDict(),
        "obj_idx_to_id": OrderedDict(),
        "obj_ids": [],
        "output_dict_per_obj": {},
        "temp_output_dict_per_obj": {},
        "frames_tracked_per_obj": {},
    }


def _prompt_ours(session: VolumeSession, kind: str) -> None:
    if kind == "mask":
        session.add_mask("object", AXIS, INDEX, _disk(session.volume))
    if "box" in kind:
        session.add_box("object", AXIS, *CORNERS)
    if "point" in kind:
        for position, positive in CLICKS[: 3 if kind == "points" else 1]:
            session.add_point("object", AXIS, position, positive)


def _disk(volume: Volume) -> np.ndarray:
    rows, columns = np.mgrid[: volume.array.shape[1], : volume.array.shape[2]]
    return (rows - 28) ** 2 + (columns - 35) ** 2 < 144


def _prompt_theirs(reference: SAM2VideoPredictor, state: dict[str, Any], session: VolumeSession, kind: str) -> None:
    plane = session._store.plane(AXIS)
    frame, size = plane.order(INDEX), reference.image_size
    if kind == "mask":
        reference.add_new_mask(state, frame, 1, torch.from_numpy(plane.to_canonical(_disk(session.volume)).copy()))
    if "box" in kind:
        box = np.array(plane.box_to_network(*(np.array(corner) for corner in CORNERS), size), np.float32)
        reference.add_new_points_or_box(state, frame, 1, box=box / size, normalize_coords=False)
    if "point" in kind:
        for position, positive in CLICKS[: 3 if kind == "points" else 1]:
            point = torch.tensor(plane.to_network(np.array([position]), size), dtype=torch.float32) / size
            reference.add_new_points_or_box(
                state, frame, 1, point, torch.tensor([int(positive)]), clear_old_points=False, normalize_coords=False
            )


def _iou(first: np.ndarray, second: np.ndarray) -> float:
    union = (first | second).sum()
    return float((first & second).sum() / union) if union else 1.0


@pytest.mark.parametrize(
    "policy", [Sam2MemoryPolicy(), BracketedMemoryPolicy(keeps_clicks=False)], ids=["sam2", "bracketed"]
)
@pytest.mark.parametrize("kind", ["box", "point", "points", "box+point", "mask"])
def test_one_prompted_slice_gives_the_video_predictors_masks(
    plain_predictor: SlicePredictor, mr_volume: Volume, kind: str, policy
) -> None:
    session = VolumeSession(plain_predictor, mr_volume, policy=policy, stop_rule=StopRule.never())
    _prompt_ours(session, kind)
    ours = {update.index: update.mask for update in session.propagate("object")}
    assert len(ours) == mr_volume.array.shape[0]
    plane = session._store.plane(AXIS)
    reference = video_predictor_on(plain_predictor.network)
    for reverse in (False, True):
        state = _inference_state(session)
        _prompt_theirs(reference, state, session, kind)
        compared = 0
        for frame, _, logits in reference.propagate_in_video(state, reverse=reverse):
            index = plane.order(frame)
            if kind == "mask" and index == INDEX:
                continue  # ours is what the user painted, theirs went through the network's resolution
            theirs = plane.restore((logits[0, 0] > 0).numpy())
            assert 0.05 < theirs.mean() < 0.95, "a degenerate mask proves nothing"
            assert _iou(ours[index], theirs) >= 0.999, f"slice {index}, reverse {reverse}"
            compared += 1
        assert compared >= 9


def test_a_correction_on_a_reached_slice_is_the_video_predictors(
    plain_predictor: SlicePredictor, mr_volume: Volume
) -> None:
    """It sees the same memories, and the earlier logits of its slice as mask prompt."""
    session = VolumeSession(plain_predictor, mr_volume, policy=Sam2MemoryPolicy(), stop_rule=StopRule.never())
    plane = session._store.plane(AXIS)
    _prompt_ours(session, "box")
    list(session.propagate("object"))
    reference = video_predictor_on(plain_predictor.network)
    for reverse, offset in ((False, 8), (True, -4)):
        state = _inference_state(session)
        _prompt_theirs(reference, state, session, "box")
        for _ in reference.propagate_in_video(state, reverse=reverse):
            pass
        frame = plane.order(INDEX) + offset
        clicked = (20.0, 45.0, float(plane.order(frame)))
        point = torch.tensor(plane.to_network(np.array([clicked]), reference.image_size), dtype=torch.float32)
        point /= reference.image_size
        _, _, logits = reference.add_new_points_or_box(
            state, frame, 1, point, torch.tensor([1]), normalize_coords=False
        )
        theirs = plane.restore((logits[0, 0] > 0).numpy())
        before = session.slice_mask("object", AXIS, plane.order(frame))
        ours = session.add_point("object", AXIS, clicked).mask
        assert 0.05 < theirs.mean() < 0.95
        assert not np.array_equal(ours, before)
        assert _iou(ours, theirs) >= 0.999
        session.undo()
