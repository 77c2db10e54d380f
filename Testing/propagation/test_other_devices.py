"""What an Apple GPU needs, as far as it can be seen without one: no double precision, batches without streams."""

import numpy as np
import pytest
import torch
from SAM2_3dMedLib.propagation import precision
from SAM2_3dMedLib.propagation import predictor as predictors
from SAM2_3dMedLib.propagation.predictor import SlicePredictor
from SAM2_3dMedLib.propagation.session import VolumeSession
from SAM2_3dMedLib.propagation.step_runner import StepMode
from SAM2_3dMedLib.propagation.stopping import StopRule
from SAM2_3dMedLib.volume.images import Volume
from SAM2_3dMedLib.volume.planes import SliceAxis
from torch.utils._python_dispatch import TorchDispatchMode

K = SliceAxis.K


class _Watch(TorchDispatchMode):
    """Notes every operation that makes a tensor in double precision, and whether any was seen at all."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0
        self.doubles: set[str] = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        self.seen += 1
        made = result if isinstance(result, tuple | list) else [result]
        if any(isinstance(entry, torch.Tensor) and entry.dtype in (torch.float64, torch.complex128) for entry in made):
            self.doubles.add(str(function))
        return result


def _as_on_mps(network) -> SlicePredictor:
    made = SlicePredictor(network, "cpu", torch.float32, StepMode.default(torch.device("mps")))
    made.batch_size = predictors._BATCH["mps"]
    made.tracking_batch = predictors._TRACKING_BATCH["mps"]
    return made


def test_nothing_is_computed_in_double_precision(full_predictor: SlicePredictor, mr_volume: Volume) -> None:
    """Prompts, tracking, corrections, a mask and a refinement: an Apple GPU has no float64."""
    with _Watch() as watch:
        session = VolumeSession(_as_on_mps(full_predictor.network), mr_volume, stop_rule=StopRule.never())
        session.add_box("one", K, (20, 15, 12), (50, 40, 12))
        list(session.propagate("one", slice_range=(9, 15)))
        session.add_point("one", K, (35.5, 30, 10), False)
        painted = np.zeros((55, 75), bool)
        painted[10:30, 20:50] = True
        session.add_mask("one", K, 14, painted)
        list(session.propagate("one", slice_range=(9, 15)))
        session.refine_boundary("one", K, 12, painted)
    assert watch.seen > 1000
    assert watch.doubles == set()


@pytest.mark.parametrize(
    ("matrix_units", "vectors", "expected"),
    [
        (True, True, torch.bfloat16),
        (False, True, torch.bfloat16),
        (False, False, torch.float32),
        (None, None, torch.float32),  # a torch that cannot say
    ],
)
def test_the_precision_is_chosen_by_what_the_processor_can(
    monkeypatch: pytest.MonkeyPatch, matrix_units: bool | None, vectors: bool | None, expected: torch.dtype
) -> None:
    for question, able in (("_is_amx_tile_supported", matrix_units), ("_is_avx512_bf16_supported", vectors)):
        if able is None:
            monkeypatch.delattr(torch.cpu, question, raising=False)
        else:
            monkeypatch.setattr(torch.cpu, question, lambda able=able: able, raising=False)
    assert precision.default_dtype(torch.device("cpu")) == expected
    assert precision.default_dtype(torch.device("mps")) == torch.float32
