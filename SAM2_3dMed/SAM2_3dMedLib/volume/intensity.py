"""Intensity windows: which values a slice shows from black (0) to white (1).

Values are in the volume's own unit (HU for CT). Nothing here depends on the order or direction of the file's axes, so
a turned file gets the same window.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from .errors import VolumeError

if TYPE_CHECKING:
    from .images import Volume

# Of 512 x 512 x 300 (79 million) voxels: percentiles move by less than 0.1 % of the range, in 0.1 s instead of 2 s.
MAX_SAMPLES = 4_000_000
PERCENTILES = (0.5, 99.5)  # as MedSAM prepares MR: vessels, fat and metal must not set the range


@dataclass(frozen=True)
class Window:
    """Values from `lower` (black) to `upper` (white). VolumeError unless both are finite and lower < upper."""

    lower: float
    upper: float

    def __post_init__(self) -> None:
        if not (np.isfinite(self.lower) and np.isfinite(self.upper) and self.lower < self.upper):
            raise VolumeError(
                f"A window must run from a lower to a higher number, "
                f"not from {self.lower} to {self.upper}; give center/width such as 40/400."
            )

    @classmethod
    def centered(cls, center: float, width: float) -> Window:
        """From center (level) and width (window), as viewers show them."""
        return cls(center - width / 2, center + width / 2)

    @property
    def center(self) -> float:
        """The value shown as mid gray."""
        return (self.lower + self.upper) / 2

    @property
    def width(self) -> float:
        """upper - lower."""
        return self.upper - self.lower


# Center and width in HU, the customary radiological presets (Slicer's Volumes module has the same or nearly the same).
CT_WINDOWS: dict[str, Window] = {
    "abdomen": Window.centered(40, 400),
    "soft-tissue": Window.centered(40, 400),
    "liver": Window.centered(60, 160),
    "mediastinum": Window.centered(50, 350),
    "lung": Window.centered(-600, 1500),
    "bone": Window.centered(400, 1800),
    "brain": Window.centered(40, 80),
    "stroke": Window.centered(40, 40),
    "spine": Window.centered(50, 250),
    "angio": Window.centered(300, 600),
    "wide": Window.centered(40, 1000),
}
_RULES = ("auto", "file", "percentiles", "full")
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)"
_CENTER_WIDTH = re.compile(rf"\s*({_NUMBER})\s*/\s*({_NUMBER})\s*")


def window_from(choice: str | Window | None, volume: Volume) -> Window:
    """The window that `choice` means for `volume`.

    choice: a Window (returned as it is), a name of CT_WINDOWS (case, spaces, "-" and "_" do not matter),
    "center/width" such as "-600/1500", or a rule: "auto" (or None; see `automatic_window`), "file" (what the header
    says), "percentiles" (0.5 to 99.5), "full" (smallest to largest value). Raises VolumeError for another word (it
    lists the names), a width that is not above 0, or "file" where the file says nothing.
    """
    meant = _meant_by(choice)
    if isinstance(meant, Window):
        return meant
    if meant == "auto":
        return automatic_window(volume)
    if meant == "percentiles":
        return percentile_window(_finite_sample(volume.array))
    if meant == "full":
        return _range_window(_finite_sample(volume.array))
    if volume.declared_window is None:
        raise VolumeError("The file does not say which window to use; choose auto or another window.")
    return volume.declared_window


def check_window(choice: str) -> None:
    """Raise VolumeError, before any volume is read, for a choice that `window_from` would know for none."""
    _meant_by(choice)


def _meant_by(choice: str | Window | None) -> Window | str:
    """A window, or one of the rules, which take a volume."""
    if isinstance(choice, Window):
        return choice
    text = "auto" if choice is None else re.sub(r"[\s_-]+", "-", choice.strip().lower())
    if text in _RULES:
        return text
    if text in CT_WINDOWS:
        return CT_WINDOWS[text]
    numbers = _CENTER_WIDTH.fullmatch(choice or "")
    if numbers is None:
        raise VolumeError(
            f"The window '{choice}' is not known; use {', '.join((*_RULES, *CT_WINDOWS))}, or center/width (40/400)."
        )
    if float(numbers[2]) <= 0:
        raise VolumeError(
            f"The window '{choice}' has no width; give center/width with a width above 0, such as 40/400."
        )
    return Window.centered(float(numbers[1]), float(numbers[2]))


def automatic_window(volume: Volume) -> Window:
    """The first that applies, padding left aside: what the file says (if it shows this image), 8-bit and already
    windowed data as they are, the abdominal window for CT in HU, percentiles 0.5 to 99.5 of the voxels that are not
    background. A constant image gets a window in whose middle its value lies.

    Raises VolumeError when no voxel is finite.
    """
    values = _without_padding(_finite_sample(volume.array))
    lowest, highest = float(values.min()), float(values.max())
    if lowest == highest:
        return _around(lowest)
    declared = volume.declared_window
    if declared is not None and _shows(values, declared):
        return declared
    whole_number = np.issubdtype(volume.array.dtype, np.integer)
    if lowest >= 0 and (highest == 255 or (volume.array.dtype == np.uint8 and highest >= 200)):
        return Window(0.0, 255.0)
    if lowest >= 0 and highest == 1 and not whole_number:
        return Window(0.0, 1.0)
    if is_hounsfield(values, volume.modality):
        return CT_WINDOWS["abdomen"]
    return percentile_window(values)


def is_hounsfield(values: npt.NDArray, modality: str | None = None) -> bool:
    """Whether finite values [N] are CT in Hounsfield units.

    Where the file names a modality: CT with values below -100 (a CT without air cannot be told from one without
    rescaling; percentiles serve both). Where it does not: something below -200, something above 0, and at least 60 %
    of the voxels above -1500 (below is padding) either air (-1100..-850) or lung, fat and soft tissue (-850..300).
    Phase images (-4096..4095) reach 25 %, z-scored MR never -200.
    """
    lowest = float(values.min())
    if modality:
        return modality.strip().upper() == "CT" and lowest < -100
    body = values[values > -1500]
    if lowest > -200 or not len(body) or float(body.max()) <= 0:
        return False
    # -1100..300 is a third of the range of a stored 12-bit CT, but holds nearly all voxels of a patient and of the
    # air around.
    return bool(np.mean((body >= -1100) & (body <= 300)) >= 0.6)


def _without_padding(values: npt.NDArray) -> npt.NDArray:
    """Values [N] as they were before a file without negative values was resampled.

    Resampling puts -1024 or less around it, which makes MR look like Hounsfield units, and cubic interpolation swings
    below its zeros. Real CT and z-scored MR hold far more negative values (fat, half of them).
    """
    lowest = values.min()
    if lowest >= 0:
        return values
    padded = lowest <= -200 and np.mean(values == lowest) >= 0.01
    rest = values[values > lowest] if padded else values
    few = len(rest) > 0 and np.mean(rest < 0) < 0.05
    if few and (padded or np.mean(rest == 0) >= 0.05):
        return rest[rest >= 0]
    return values


def percentile_window(values: npt.NDArray) -> Window:
    """Percentiles 0.5 and 99.5 of finite values [N], without background: the smallest value where at least 1 % of the
    voxels have it.
    """
    lowest = values.min()
    foreground = values[values > lowest] if np.mean(values == lowest) >= 0.01 else values
    # Fewer than 20 voxels have no percentiles worth the name.
    if len(foreground) < 20:
        return _range_window(values)
    lower, upper = np.percentile(foreground, PERCENTILES).tolist()
    return Window(lower, upper) if lower < upper else _range_window(values)


def apply(array: npt.NDArray, window: Window) -> npt.NDArray[np.float32]:
    """Values of any shape and real dtype to float32 0..1 of the same shape: NaN and -inf become 0, +inf 1; a constant
    image under its own automatic window becomes 0.5.
    """
    # 32- and 64-bit values keep their precision until the window is subtracted: an offset of 1e9 would eat float32's
    # 24 bits.
    precise = np.float32 if array.dtype.itemsize <= 2 and array.dtype != np.float16 else np.float64
    scaled = (array.astype(precise) - precise(window.lower)) / precise(window.width)
    return np.nan_to_num(np.clip(scaled, 0.0, 1.0), nan=0.0, copy=False).astype(np.float32, copy=False)


def _finite_sample(array: npt.NDArray) -> npt.NDArray:
    """Finite values [N], at most about MAX_SAMPLES, the same set for every turned or flipped version of the array.

    VolumeError when there are none.
    """
    values = array.ravel() if array.size <= MAX_SAMPLES else array[np.ix_(*_steps(array.shape))].ravel()
    if not np.issubdtype(values.dtype, np.floating):
        return values
    finite = values[np.isfinite(values)]
    if not len(finite) and array.size > MAX_SAMPLES:
        finite = array[np.isfinite(array)]
    if not len(finite):
        raise VolumeError("The image holds no finite value (all NaN or infinite); choose another image.")
    # float64: float16 percentiles would overflow.
    return finite.astype(np.float64)


def _steps(shape: tuple[int, ...]) -> list[npt.NDArray[np.intp]]:
    """For each axis the voxels to look at: every step-th, placed so that reversing the axis gives the same voxels."""
    step = int(np.ceil((np.prod(shape, dtype=np.float64) / MAX_SAMPLES) ** (1 / 3))) | 1
    return [_mirrored_steps(count, step) for count in shape]


def _mirrored_steps(count: int, step: int) -> npt.NDArray[np.intp]:
    # With an odd step one of two neighboring numbers of samples leaves an even rest, half of which goes to each end.
    for samples in (-(-count // step), -(-count // step) - 1):
        rest = count - 1 - (samples - 1) * step
        if samples > 0 and rest % 2 == 0:
            return np.arange(samples) * step + rest // 2
    return np.unique([(count - 1) // 2, count // 2])


def _shows(values: npt.NDArray, window: Window) -> bool:
    """Whether at least 2 % of the voxels are neither black nor white: headers also carry windows of other images and
    units.
    """
    return bool(np.mean((values > window.lower) & (values < window.upper)) >= 0.02)


def _range_window(values: npt.NDArray) -> Window:
    lowest, highest = float(values.min()), float(values.max())
    return Window(lowest, highest) if lowest < highest else _around(lowest)


def _around(value: float) -> Window:
    # Wide enough that value +- half differs from value in float64.
    half = max(0.5, abs(value) * 1e-3)
    return Window(value - half, value + half)
