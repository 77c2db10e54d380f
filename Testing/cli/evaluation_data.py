"""Two small labeled CTs with a manifest, as `evaluate` wants them, and a row of its table."""

import csv
from pathlib import Path

import SimpleITK as sitk  # noqa: N813  its customary name
from SAM2_3dMedLib.training.evaluation import ObjectResult

from .conftest import ball_image

HEADER = "split,dataset,case,modality,shape,spacing_mm,spacing_source,labels,licence,note,image,label\n"
# Columns that tell how long something took, or where: they differ between two runs of the same.
TIMES = ("seconds_to_preview", "seconds")


def write_balls(folder: Path, labels: str = '"{""1"": ""ball"", ""2"": ""nothing""}"') -> Path:
    """Two balls in two data sets; the spacing of the second is not known, its label 2 is nowhere. The manifest."""
    rows = []
    for case, split, source in (("a", "val", "header"), ("b", "train", "NOT KNOWN (nominal 1)")):
        image, mask = ball_image()
        sitk.WriteImage(image, str(folder / f"{case}.nii.gz"))
        sitk.WriteImage(mask, str(folder / f"{case}_lab.nii.gz"))
        rows.append(f"{split},set_{case},{case},CT,-,-,{source},{labels},-,,{case}.nii.gz,{case}_lab.nii.gz\n")
    (folder / "manifest.csv").write_text(HEADER + "".join(rows))
    return folder / "manifest.csv"


def move_labels(folder: Path, case: str) -> None:
    """Put the labels of a case on another grid than its image."""
    mask = sitk.ReadImage(str(folder / f"{case}_lab.nii.gz"))
    mask.SetOrigin((0.0, 0.0, 0.0))
    sitk.WriteImage(mask, str(folder / f"{case}_lab.nii.gz"))


def rows_of(path: Path, without: tuple[str, ...] = ()) -> list[dict[str, str]]:
    """The rows of a CSV file, some columns left out."""
    with path.open(newline="") as stream:
        return [{name: value for name, value in row.items() if name not in without} for row in csv.DictReader(stream)]


def result(**values) -> ObjectResult:
    """A row with some of its values."""
    base = {
        "split": "val",
        "dataset": "d",
        "case": "c",
        "modality": "CT",
        "label": 1,
        "name": "x",
        "protocol": "corrections",
        "axis": "K",
        "slice_index": 1,
        "voxels": 10,
        "dice": 0.5,
        "iou": 0.4,
        "hd95_mm": 1.0,
        "nsd_1mm": 0.5,
        "nsd_2mm": 0.6,
        "worst_slice_dice": 0.1,
        "worst_slice": 2,
        "slices_missed": 0,
        "slices_leaked": 0,
        "prompted_slice_dice": 0.7,
        "ellipse_slice_dice": 0.8,
        "dice_by_clicks": (0.4, 0.5),
        "seconds_to_preview": 0.1,
        "seconds": 1.0,
        "ellipsoid_dice": 0.45,
        "slice_consistency": 0.9,
        "gpu_memory_mib": None,
    }
    return ObjectResult(**{**base, **values})
