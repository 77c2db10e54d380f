"""Where the tests find real images: the samples in the repository, and the labelled volumes beside it, where there
are any.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813  its customary name
from scipy.spatial.transform import Rotation

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def repository_root() -> Path:
    """The root of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def samples() -> Path:
    """`Resources/Samples`: `<name>_img.nii.gz` and `<name>_lab.nii.gz` for abdomen_ct, sarcoma_ct, sarcoma_mr,
    spinalcord_t2.
    """
    folder = ROOT / "Resources" / "Samples"
    assert folder.is_dir(), "Resources/Samples is part of the repository"
    return folder


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """`../shared/data` beside the checkout; the test is skipped where it is absent."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the labelled volumes of ../shared/data are not on this machine")
    return folder


@pytest.fixture(scope="session")
def oblique_copy() -> Callable[..., sitk.Image]:
    """A function (image, degrees about the patient's x, y, z, padding) that resamples an image, linearly and with the
    padding (its lowest value unless told) around, onto the smallest turned grid of the same spacing that holds it all.
    """

    def copy(image: sitk.Image, degrees: tuple[float, float, float], padding: float | None = None) -> sitk.Image:
        spacing, size = np.array(image.GetSpacing()), np.array(image.GetSize())
        turn = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
        directions = turn @ np.array(image.GetDirection()).reshape(3, 3)
        corners = np.stack(np.meshgrid(*[(-0.5, count - 0.5) for count in size]), axis=-1).reshape(-1, 3)
        places = np.array([image.TransformContinuousIndexToPhysicalPoint(corner.tolist()) for corner in corners])
        middle = places.mean(axis=0)
        count = np.ceil(np.ptp((places - middle) @ directions / spacing, axis=0) - 1e-6).astype(int)
        origin = middle - directions @ (spacing * (count - 1) / 2)
        around = float(sitk.GetArrayViewFromImage(image).min()) if padding is None else padding
        grid = (origin.tolist(), spacing.tolist(), directions.ravel().tolist(), around, image.GetPixelID())
        return sitk.Resample(image, count.tolist(), sitk.Transform(3, sitk.sitkIdentity), sitk.sitkLinear, *grid)

    return copy


@pytest.fixture
def one_thread() -> Iterator[None]:
    """torch computes with one thread: sums of several depend on how the work was divided, in the last digits."""
    import torch  # not at file scope: Slicer's own environment, which reads this file too, has none

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
