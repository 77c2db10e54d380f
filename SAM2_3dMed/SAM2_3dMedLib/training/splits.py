"""Which cases train and which validate: five folds, the same for everyone.

The patients are ordered by the SHA-256 of `12345:<name>` and dealt out to the folds in turn, so that any language makes
the same lists from the names alone. The files are lists of {"train": [...], "val": [...]}, as nnU-Net's
`splits_final.json` is, which can be given instead. `recipes/splits` has those of the paper's three tasks.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .files import write_text_whole

FOLDS = 5
SEED = 12345


class SplitError(ValueError):
    """Folds that cannot be made or used; the message says what to do next."""


@dataclass(frozen=True)
class Fold:
    """Names of the cases that train and of those that validate, in alphabetical order."""

    train: tuple[str, ...]
    val: tuple[str, ...]


def make_folds(names: Iterable[str], seed: int = SEED) -> tuple[Fold, ...]:
    """Five folds; every name validates in one of them. Raises SplitError for fewer than five names."""
    order = sorted(set(names), key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).hexdigest())
    if len(order) < FOLDS:
        raise SplitError(
            f"{len(order)} cases are too few for {FOLDS} folds; write 'fold: null' to train on all of them."
        )
    return tuple(
        Fold(
            train=tuple(sorted(name for number, name in enumerate(order) if number % FOLDS != fold)),
            val=tuple(sorted(order[fold::FOLDS])),
        )
        for fold in range(FOLDS)
    )


def write_folds(path: Path, folds: Sequence[Fold]) -> Path:
    """Write folds as JSON, one case a line."""
    listed = [{"train": list(fold.train), "val": list(fold.val)} for fold in folds]
    return write_text_whole(path, json.dumps(listed, indent=1) + "\n")


def read_folds(path: Path) -> tuple[Fold, ...]:
    """Read what `write_folds` or nnU-Net wrote. Raises SplitError for anything else."""
    try:
        listed = json.loads(path.read_text(encoding="utf-8"))
        folds = tuple(Fold(tuple(map(str, entry["train"])), tuple(map(str, entry["val"]))) for entry in listed)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise SplitError(
            f"The folds {path} cannot be read ({error!r}); give a list of train and val tables."
        ) from error
    for number, fold in enumerate(folds):
        both = sorted(set(fold.train) & set(fold.val))
        if both:
            raise SplitError(f"The folds {path} train and validate on {both[0]} in fold {number}; correct the file.")
    return folds


def fold_of(number: int, names: Iterable[str], kept: Path, given: Path | None = None) -> Fold:
    """The fold of this number: from `given`, else from the file `kept`, which is written the first time.

    Raises:
        SplitError: there is no such fold, or the file does not know one of the names.
    """
    names = set(names)
    path = given or kept
    if path == kept and not kept.is_file():
        write_folds(kept, make_folds(names))
    folds = read_folds(path)
    if not 0 <= number < len(folds):
        raise SplitError(f"There is no fold {number} in {path}; choose one of 0 to {len(folds) - 1}.")
    fold = folds[number]
    unknown = sorted(names.difference(fold.train, fold.val))
    if unknown:
        raise SplitError(
            f"Fold {number} in {path} does not know the case {unknown[0]} ({len(unknown)} in all); "
            "give the folds of these data, or choose another output folder to have them made."
        )
    return fold
