"""HD95 by all pairs is MONAI's."""

import math

import numpy as np
import pytest
import torch
from SAM2_3dMedLib.training import hausdorff
from SAM2_3dMedLib.training.hausdorff import hausdorff95_mm
from SAM2_3dMedLib.training.metrics import surface_score

CPU = torch.device("cpu")
SPACING = (0.7, 1.1, 4.0)


def _blob(center: tuple[float, ...], radii: tuple[float, ...]) -> np.ndarray:
    grid = np.stack(np.mgrid[:14, :24, :20], axis=-1)
    return (((grid - np.array(center)) / np.array(radii)) ** 2).sum(-1) < 1


@pytest.mark.parametrize("rows", [1 << 26, 50])
@pytest.mark.parametrize(
    ("center", "radii"), [((7, 12, 9), (4, 7, 6)), ((4, 10, 12), (3, 9, 3)), ((1, 1, 1), (3, 4, 5))]
)
def test_it_is_monais(center, radii, rows, monkeypatch):
    monkeypatch.setattr(hausdorff, "_PAIRS_AT_ONCE", rows)
    reference, prediction = _blob((7, 12, 10), (5, 8, 6)), _blob(center, radii)
    prediction[10, 20, 3:5] = True
    prediction[6:8, 11:13, 9:11] = False  # a hole has a surface too
    expected = surface_score(prediction, reference, SPACING).hd95_mm
    assert hausdorff95_mm(prediction, reference, SPACING, CPU) == pytest.approx(expected, rel=1e-5)


def test_empty_masks_score_as_in_the_evaluation():
    some, none = _blob((7, 12, 10), (5, 8, 6)), np.zeros((14, 24, 20), dtype=bool)
    assert hausdorff95_mm(none, none, SPACING, CPU) == 0.0
    diagonal = math.hypot(14 * 4.0, 24 * 1.1, 20 * 0.7)
    assert hausdorff95_mm(none, some, SPACING, CPU) == pytest.approx(diagonal)
    assert surface_score(some, none, SPACING).hd95_mm == pytest.approx(diagonal)
