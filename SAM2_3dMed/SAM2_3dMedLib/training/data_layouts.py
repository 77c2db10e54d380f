"""Labeled cases from the three layouts that data come in: Medical Segmentation Decathlon, nnU-Net raw, our manifest.

MSD       Task09_Spleen/{dataset.json, imagesTr/spleen_2.nii.gz, labelsTr/spleen_2.nii.gz}; dataset.json lists them
nnU-Net   Dataset009_Spleen/{dataset.json, imagesTr/spleen_2_0000.nii.gz, labelsTr/spleen_2.nii.gz}; _0000: channel
manifest  a CSV file with the columns split, dataset, case, modality, labels, image, label
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from .label_names import LabelNamesError, names_in_description, names_in_manifest

_MANIFEST_COLUMNS = ("split", "dataset", "case", "modality", "labels", "image", "label")
_CHANNEL = re.compile(r"_\d{4}$")


class LayoutError(ValueError):
    """A data folder that cannot be used; the message says what to do next."""


class Layout(str, Enum):
    """How a data folder is built; AUTO looks."""

    AUTO = "auto"
    MSD = "msd"
    NNUNET = "nnunet"
    MANIFEST = "manifest"


@dataclass(frozen=True)
class LabeledCase:
    """One image with its label map, before anything of them is read.

    Attributes:
        case: its name; two scans of one patient have the same, in two data sets.
        labels: label value to name, without the background.
        split: what a manifest says; empty in the other layouts.
        spacing_source: a manifest's remark on the spacing, which the evaluation heeds.
        channel: which channel of a 4D image is meant.
    """

    dataset: str
    case: str
    modality: str
    labels: Mapping[int, str]
    image: Path
    label: Path
    split: str = ""
    spacing_source: str = ""
    channel: int = 0

    @property
    def key(self) -> str:
        """Unique among the cases of a run."""
        return f"{self.dataset}/{self.case}"

    @property
    def spacing_known(self) -> bool:
        """False where the manifest says that it is not."""
        return not self.spacing_source.upper().startswith("NOT KNOWN")


def read_layout(
    path: Path, layout: Layout = Layout.AUTO, root: Path | None = None, channel: int = 0
) -> list[LabeledCase]:
    """The labeled cases of a folder (or of a folder's only subfolder with a dataset.json) or of a manifest.

    Args:
        root: folder that a manifest's paths start from; default: the manifest's own.
        channel: channel of images that have several.

    Raises:
        LayoutError: not there, or not of this layout.
    """
    if not path.exists():
        raise LayoutError(f"The data {path} does not exist; check the path.")
    if path.is_file():
        if layout not in (Layout.AUTO, Layout.MANIFEST):
            raise LayoutError(f"{path} is a file, and the layout '{layout.value}' is a folder with a dataset.json.")
        return _in_order(read_manifest(path, root or path.parent), path)
    if layout is Layout.MANIFEST:
        raise LayoutError(f"{path} is a folder; the layout 'manifest' wants a CSV file.")
    folder = _task_folder(path)
    facts = _read_json(folder / "dataset.json")
    if layout is Layout.AUTO:
        layout = Layout.NNUNET if _looks_like_nnunet(folder, facts) else Layout.MSD
    read = _read_nnunet if layout is Layout.NNUNET else _read_msd
    return _in_order(read(folder, facts, channel), folder)


def read_manifest(manifest: Path, root: Path) -> list[LabeledCase]:
    """The rows of a manifest. Raises LayoutError for a file that is none, or a row without labels or files."""
    try:
        with manifest.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            missing = [name for name in _MANIFEST_COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise LayoutError(
                    f"The manifest {manifest} has no column '{missing[0]}'; it needs {', '.join(_MANIFEST_COLUMNS)}."
                )
            return [_case_of_row(row, root, f"line {reader.line_num} of {manifest}") for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise LayoutError(f"The manifest {manifest} cannot be read ({error}); give a CSV file.") from error


def _in_order(cases: list[LabeledCase], source: Path) -> list[LabeledCase]:
    if not cases:
        raise LayoutError(f"{source} lists no labeled case; check that its labels were unpacked too.")
    keys = [case.key for case in cases]
    twice = next((key for key in keys if keys.count(key) > 1), None)
    if twice:
        raise LayoutError(f"{source} lists the case {twice} twice; give each case a name of its own.")
    return sorted(cases, key=lambda case: case.key)


def _task_folder(path: Path) -> Path:
    if (path / "dataset.json").is_file():
        return path
    inner = sorted(entry.parent for entry in path.glob("*/dataset.json"))
    if len(inner) == 1:
        return inner[0]
    found = f"several: {', '.join(entry.name for entry in inner)}" if inner else "none"
    raise LayoutError(f"{path} must hold one dataset.json (found {found}); give the task's own folder.")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        facts = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:  # the last: brackets without end
        raise LayoutError(f"{path} cannot be read as JSON ({error}); unpack the data again.") from error
    if not isinstance(facts, dict) or not isinstance(facts.get("labels"), dict):
        raise LayoutError(f"{path} has no table 'labels'; is it the description of a data set?")
    return facts


def _looks_like_nnunet(folder: Path, facts: Mapping[str, Any]) -> bool:
    if "channel_names" in facts or "file_ending" in facts:
        return True
    listed = facts.get("training")
    if isinstance(listed, list) and listed and isinstance(listed[0], dict):
        return not (folder / str(listed[0].get("image", ""))).is_file() and bool(_channel_files(folder, 0))
    return bool(_channel_files(folder, 0))


def _read_msd(folder: Path, facts: Mapping[str, Any], channel: int) -> list[LabeledCase]:
    listed = facts.get("training")
    if not isinstance(listed, list) or not all(isinstance(e, dict) and {"image", "label"} <= set(e) for e in listed):
        raise LayoutError(f"{folder / 'dataset.json'} has no list 'training' of images and labels, as MSD has it.")
    labels, modality = _labels(facts, folder), _modality(facts, channel, folder)
    return [
        LabeledCase(
            dataset=folder.name,
            case=_stem(str(entry["image"])),
            modality=modality,
            labels=labels,
            image=_as_it_is(folder / str(entry["image"])),
            label=_as_it_is(folder / str(entry["label"])),
            channel=channel,
        )
        for entry in listed
    ]


def _as_it_is(listed: Path) -> Path:
    """The file, which some mirrors of MSD hold unpacked while dataset.json still says .nii.gz."""
    plain = listed.with_suffix("") if listed.suffix == ".gz" else listed
    return plain if plain.is_file() and not listed.is_file() else listed


def _read_nnunet(folder: Path, facts: Mapping[str, Any], channel: int) -> list[LabeledCase]:
    labels, modality = _labels(facts, folder), _modality(facts, channel, folder)
    ending = str(facts.get("file_ending", ".nii.gz"))
    cases = []
    for image in _channel_files(folder, channel):
        name = _CHANNEL.sub("", _stem(image.name))
        cases.append(
            LabeledCase(
                dataset=folder.name,
                case=name,
                modality=modality,
                labels=labels,
                image=image,
                label=folder / "labelsTr" / f"{name}{ending}",
            )
        )
    return cases


def _channel_files(folder: Path, channel: int) -> list[Path]:
    return sorted(p for p in (folder / "imagesTr").glob(f"*_{channel:04d}.*") if not p.name.startswith("."))


def _labels(facts: Mapping[str, Any], folder: Path) -> dict[int, str]:
    try:
        return names_in_description(facts["labels"], str(folder / "dataset.json"))
    except LabelNamesError as error:
        raise LayoutError(str(error)) from error


def _modality(facts: Mapping[str, Any], channel: int, folder: Path) -> str:
    """The channel's, from {"0": "CT"}, ["CT"] or, of all channels, "CT"; MR where nothing is said."""
    channels = facts.get("channel_names") or facts.get("modality") or "MR"
    if isinstance(channels, list):
        channels = dict(enumerate(channels))
    if isinstance(channels, dict):
        named = {str(key): value for key, value in channels.items()}
        if str(channel) not in named:
            raise LayoutError(f"The data set has no channel {channel}; it has {', '.join(named)}.")
        channels = named[str(channel)]
    if not isinstance(channels, str):
        raise LayoutError(
            f"Channel {channel} in {folder / 'dataset.json'} has the name {json.dumps(channels)}; give a text such as "
            '"CT".'
        )
    return channels


def _stem(path: str) -> str:
    name = Path(path).name
    return name[: -len(".nii.gz")] if name.lower().endswith(".nii.gz") else Path(name).stem


def _case_of_row(row: Mapping[str, str], root: Path, where: str) -> LabeledCase:
    try:
        labels = names_in_manifest(row["labels"], where)
    except LabelNamesError as error:
        raise LayoutError(str(error)) from error
    if not labels:
        raise LayoutError(f"The labels in {where} name no object; a case without one cannot be trained on.")
    if not row["image"] or not row["label"] or not row["case"]:
        raise LayoutError(f"The case, the image or the label file is missing in {where}.")
    return LabeledCase(
        dataset=row["dataset"],
        case=row["case"],
        modality=row["modality"],
        labels=labels,
        image=root / row["image"],
        label=root / row["label"],
        split=row["split"],
        spacing_source=row.get("spacing_source") or "",
    )
