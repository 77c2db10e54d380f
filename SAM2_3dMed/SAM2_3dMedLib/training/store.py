"""Packed cases on the training device: voxels as uint8 tensors, and where each label lies along each axis."""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from .pack import CaseInfo, PackedCase, PackError, read_pack

FILES_AT_ONCE = 8
MIN_VOXELS = 24  # below this a label is noise of the reference segmentation rather than an object


@dataclass(frozen=True)
class ObjectInfo:
    """One labeled object. `areas[axis][n]`: its voxels on slice n of array axis `axis` (0 S, 1 P, 2 L), int64."""

    value: int
    areas: tuple[np.ndarray, np.ndarray, np.ndarray]

    def extent(self, axis: int) -> tuple[int, int]:
        """First and last slice (inclusive) along `axis` that the object touches."""
        touched = np.flatnonzero(self.areas[axis])
        return int(touched[0]), int(touched[-1])


@dataclass(frozen=True)
class Case:
    """One case: image and label uint8 `[S, P, L]` on the device; `low`, `high`: 1st and 99th percentile, raw values.

    `label_on_host` is the label map again, in host memory: clips are planned from it without waiting for the device.
    """

    info: CaseInfo
    image: torch.Tensor
    label: torch.Tensor
    label_on_host: np.ndarray
    objects: tuple[ObjectInfo, ...]
    low: float
    high: float

    @property
    def is_ct(self) -> bool:
        """True if the voxels are Hounsfield levels, so that a window can be drawn."""
        return self.info.kind == "ct"


def place_case(packed: PackedCase, device: torch.device) -> Case:
    """Move one packed case to `device` and index its objects (labels of at least `MIN_VOXELS` voxels)."""
    label = packed.label
    objects = []
    for value in range(1, int(label.max()) + 1):
        inside = label == value
        if int(inside.sum()) < MIN_VOXELS:
            continue
        per_slice = inside.sum(axis=2)
        areas = (per_slice.sum(axis=1), per_slice.sum(axis=0), inside.sum(axis=(0, 1)))
        objects.append(ObjectInfo(value, areas))
    low, high = np.percentile(packed.image[:: max(1, packed.image.shape[0] // 32)], (1.0, 99.0))
    return Case(
        info=packed.info,
        image=torch.tensor(packed.image, device=device),
        label=torch.tensor(label, device=device),
        label_on_host=label,
        objects=tuple(objects),
        low=float(low),
        high=float(max(high, low + 1.0)),
    )


@dataclass
class CaseStore:
    """Cases of a training run, grouped by data set."""

    cases: list[Case] = field(default_factory=list)

    def add(self, packed: Iterable[PackedCase], device: torch.device) -> None:
        """Place further cases on the device."""
        self.cases.extend(place_case(case, device) for case in packed)

    def by_dataset(self) -> dict[str, list[int]]:
        """Case indices of each data set, data sets in alphabetical order."""
        groups: dict[str, list[int]] = defaultdict(list)
        for index, case in enumerate(self.cases):
            groups[case.info.dataset].append(index)
        return dict(sorted(groups.items()))

    def description(self) -> str:
        """How many cases, and a checksum of which: the same for the same cases in the same order."""
        names = "\n".join(f"{case.info.dataset}/{case.info.case} {case.info.shape}" for case in self.cases)
        return f"{len(self.cases)} cases, checksum {zlib.crc32(names.encode()):08x}"

    def split_holdout(self, fraction: float) -> tuple[CaseStore, CaseStore]:
        """Divide into (training, holdout). The checksum of the patient decides, so a rerun divides alike.

        The data set's name is not in the checksum: two scans of one patient (`sts_ct` and `sts_mr`) stay together.
        A data set of fewer than ten cases is not divided.
        """
        large = {name for name, members in self.by_dataset().items() if len(members) >= 10}
        held = [
            case.info.dataset in large and zlib.crc32(case.info.case.encode()) % 1000 < 1000 * fraction
            for case in self.cases
        ]
        training = CaseStore([case for case, out in zip(self.cases, held, strict=True) if not out])
        return training, CaseStore([case for case, out in zip(self.cases, held, strict=True) if out])


def load_store(
    paths: Sequence[Path], device: torch.device, keep: Callable[[CaseInfo], bool] | None = None
) -> CaseStore:
    """Read packs into a store in a fixed order (data set, case). Raises PackError if there is no case at all."""
    store = CaseStore()
    with ThreadPoolExecutor(FILES_AT_ONCE) as pool:
        for first in range(0, len(paths), FILES_AT_ONCE):  # a few at a time: whole volumes wait in memory
            for packed in pool.map(lambda path: list(read_pack(path)), paths[first : first + FILES_AT_ONCE]):
                store.add((case for case in packed if keep is None or keep(case.info)), device)
    if not store.cases:
        raise PackError("The packs hold no case to train on; check --packs and the recipe's data sets.")
    store.cases.sort(key=lambda case: (case.info.dataset, case.info.case))
    return store
