"""A volume made of an array: what a session needs of an `images.Volume`, on machines that have no SimpleITK."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .geometry import Geometry
from .intensity import Window


@dataclass(frozen=True, eq=False)
class ArrayVolume:
    """array: `[K, J, I]`. ijk_to_ras: affine [4, 4], mm. The rest as in `images.Volume`; nothing is checked."""

    array: np.ndarray
    ijk_to_ras: np.ndarray
    name: str = ""
    modality: str | None = "CT"
    declared_window: Window | None = None

    @property
    def geometry(self) -> Geometry:
        k, j, i = self.array.shape
        return Geometry(self.ijk_to_ras, (i, j, k))
