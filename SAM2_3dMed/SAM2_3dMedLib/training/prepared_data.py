"""From a data section to packs: unpacked, divided into folds, each case packed once, bad ones reported.

Everything lies in the run's folder and is found there the next time:

    splits.json      the five folds            unusable.csv   the cases that are left out, and why
    packs/           one file a case           data/          what was unpacked from an archive
    channels/        one channel of images that have several in one file
"""

from __future__ import annotations

import json
import os
import zlib
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from .case_reading import read_case
from .channels import single_channel
from .config import DataSection
from .data_layouts import LabeledCase, Layout, LayoutError, read_layout
from .pack import FORMAT, compress, write_pack
from .run_log import say
from .splits import fold_of
from .unpacking import is_archive, unpack
from .usable import Unusable, each_usable, sentences, write_report

SPLITS_FILE, REPORT_FILE = "splits.json", "unusable.csv"
MOST_THREADS = 8  # a thread holds a volume several times
FAST_PRESET = 1  # xz; the packs are read once a run, and 6 takes five times as long for a tenth of the size


@dataclass(frozen=True)
class ChosenCases:
    """The cases of a run before they are read."""

    train: tuple[LabeledCase, ...]
    val: tuple[LabeledCase, ...]


@dataclass(frozen=True)
class PackedFile:
    """A case and the pack that holds it alone."""

    case: LabeledCase
    path: Path


@dataclass(frozen=True)
class PreparedData:
    """The cases of a run as packs, and those that were left out."""

    train: tuple[PackedFile, ...]
    val: tuple[PackedFile, ...]
    unusable: tuple[Unusable, ...]


def chosen_cases(data: DataSection, folder: Path) -> ChosenCases:
    """Find the cases and divide them; an archive is unpacked into `folder/data`, new folds stand in `folder`.

    Raises:
        LayoutError, SplitError: in one sentence.
    """
    if not data.path:
        raise LayoutError("No data are given; write data.path into the configuration or give --data.")
    path = Path(data.path)
    if is_archive(path) and path.is_file():
        path = unpack(path, folder / "data")
    cases = read_layout(path, Layout(data.layout), Path(data.root) if data.root else None, data.channel)
    if data.fold is None:
        train = tuple(case for case in cases if case.split in ("", "train"))
        return _required(ChosenCases(train, tuple(case for case in cases if case.split == "val")), path)
    cases = [case for case in cases if case.split in ("", "train")]
    given = Path(data.splits) if data.splits else None
    # By the case's name alone: two scans of a patient have one name, and stay together.
    fold = fold_of(data.fold, (case.case for case in cases), folder / SPLITS_FILE, given)
    return _required(
        ChosenCases(
            tuple(case for case in cases if case.case in fold.train), tuple(c for c in cases if c.case in fold.val)
        ),
        path,
    )


def _required(chosen: ChosenCases, path: Path) -> ChosenCases:
    if not chosen.train:
        raise LayoutError(f"{path} has no case to train on; a manifest needs rows of split 'train'.")
    return chosen


def prepare(chosen: ChosenCases, folder: Path, quiet: bool = False) -> PreparedData:
    """Pack every case into `folder/packs` unless it was packed before, and report those that cannot be used.

    Args:
        quiet: say nothing, for every process but the first.

    Raises:
        LayoutError: no case is left to train on.
    """
    cases = [*chosen.train, *chosen.val]
    with tqdm(total=len(cases), desc="cases", unit="case", disable=quiet) as bar:
        outcome = each_usable(cases, lambda case: _packed(case, folder), _threads(), bar.update)
    if not quiet:
        report = write_report(folder / REPORT_FILE, outcome.unusable)
        for sentence in sentences(outcome.unusable, report):
            say(sentence)
    training = {case.key for case in chosen.train}
    train = tuple(entry for entry in outcome.usable if entry.case.key in training)
    if not train:
        raise LayoutError(f"None of the {len(training)} training cases can be used; {folder / REPORT_FILE} says why.")
    return PreparedData(train, tuple(e for e in outcome.usable if e.case.key not in training), outcome.unusable)


def _packed(case: LabeledCase, folder: Path) -> PackedFile:
    case = single_channel(case, folder / "channels")
    path = folder / "packs" / case.dataset / f"{case.case}.{_fingerprint(case)}.npz"
    if not path.is_file():
        write_pack(path, [compress(read_case(case), FAST_PRESET)])
        for former in path.parent.glob(f"{case.case}.{'[0-9a-f]' * 8}.npz"):
            if former != path:
                former.unlink(missing_ok=True)
    return PackedFile(case, path)


def _fingerprint(case: LabeledCase) -> str:
    """Changes with the files and with what is made of them."""
    stats = [path.stat() for path in (case.image, case.label) if path.exists()]
    files = [(stat.st_size, stat.st_mtime_ns) for stat in stats]
    facts = [FORMAT, case.modality, sorted(case.labels.items()), case.channel, files]
    return f"{zlib.crc32(json.dumps(facts).encode()):08x}"


def _threads() -> int:
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(available, MOST_THREADS)
