"""One row of each table of an evaluation. Their fields, in order, are the columns of the CSV files."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ObjectResult:
    """What one object of one case scored. Lengths in mm; None where the spacing is not known.

    Attributes:
        slice_index: the prompted slice along `axis` (I, J or K).
        prompted_slice_dice: Dice of the preview on the prompted slice, before anything propagates.
        ellipse_slice_dice: Dice there of the ellipse inscribed in the tight box: what a box alone gives.
        dice_by_clicks: 3D Dice after 0, 1, 2 ... correction clicks; the other scores are of the last.
        seconds_to_preview: first prompt to first preview, the encoding of that slice included.
        seconds: all prompts and propagations; objects of a case share encoded slices, so the first pays for most.
        ellipsoid_dice: 3D Dice of that ellipse as an ellipsoid over the object's true extent across the slices.
        slice_consistency: `metrics.slice_consistency`; None where the volume has no pair of slices for it.
        gpu_memory_mib: most memory that torch had allocated on the GPU meanwhile; None without CUDA.
    """

    split: str
    dataset: str
    case: str
    modality: str
    label: int
    name: str
    protocol: str
    axis: str
    slice_index: int
    voxels: int
    dice: float
    iou: float
    hd95_mm: float | None
    nsd_1mm: float | None
    nsd_2mm: float | None
    worst_slice_dice: float
    worst_slice: int
    slices_missed: int
    slices_leaked: int
    prompted_slice_dice: float
    ellipse_slice_dice: float
    dice_by_clicks: tuple[float, ...]
    seconds_to_preview: float
    seconds: float
    ellipsoid_dice: float
    slice_consistency: float | None
    gpu_memory_mib: float | None


@dataclass(frozen=True)
class VariantResult:
    """What one object of one case scored with its prompt given in one of several ways.

    Attributes:
        setting: which way; `prompt_variants.settings_of` the protocol.
        slice_index: the prompted slice along `axis` (I, J or K).
        prompted_slice_dice: Dice of the preview on the prompted slice.
        ellipse_slice_dice: Dice there of the ellipse inscribed in the box as it was given; None for a click.
        ellipsoid_dice: 3D Dice of that ellipse as an ellipsoid over the object's true extent; None for a click.
        seconds: prompt and propagation; the slices were encoded for the first setting.
    """

    split: str
    dataset: str
    case: str
    modality: str
    label: int
    name: str
    protocol: str
    setting: str
    axis: str
    slice_index: int
    voxels: int
    dice: float
    prompted_slice_dice: float
    ellipse_slice_dice: float | None
    ellipsoid_dice: float | None
    seconds: float
