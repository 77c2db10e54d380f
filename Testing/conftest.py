"""Where the tests find real images: the samples in the repository, and the labelled volumes beside it, where there
are any.
"""

from __future__ import annotations

from pathlib import Path

import pytest

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
