"""Whether a volume is a label map, which has nothing that could be segmented."""

from __future__ import annotations

import numpy as np

from .images import Volume

# A label map's neighbors mostly belong to one region; images of so few values (quantized, thresholded) are noisier.
_EQUAL_NEIGHBORS = 0.9
_MOST_LABELS = 64


def is_label_map(volume: Volume) -> bool:
    """Whether the header says so, or the values do: whole numbers 0, 1, ... n without a gap (n below 64), in regions
    (at least 90 % of the voxels equal their neighbor along each axis).

    Images look like that only when somebody has thresholded them, or in made-up phantoms.
    """
    return volume.declared_labels or _has_values_of_labels(volume.array)


def _has_values_of_labels(array: np.ndarray) -> bool:
    if array.min() != 0 or not 1 <= array.max() < _MOST_LABELS:  # NaN answers no
        return False
    if not all(np.array_equal(plane, np.rint(plane)) for plane in array):
        return False
    counts = sum(np.bincount(plane.astype(np.uint8).ravel(), minlength=_MOST_LABELS) for plane in array)
    values = np.flatnonzero(counts)
    if len(values) != values[-1] + 1:
        return False
    return all(
        np.mean(np.take(array, range(1, count), axis) == np.take(array, range(count - 1), axis)) >= _EQUAL_NEIGHBORS
        for axis, count in enumerate(array.shape)
    )
