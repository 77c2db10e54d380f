"""Where results go: checked before the work starts, and each file there whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from .errors import UserError

SEGMENTATION_ENDINGS = (".seg.nrrd", ".nii.gz")


def check_segmentation_path(path: Path) -> None:
    """Raises `UserError` when the file name has no ending that can be written."""
    if not path.name.lower().endswith(SEGMENTATION_ENDINGS):
        raise UserError(f"The output {path} must end in {' or '.join(SEGMENTATION_ENDINGS)}.")
    if not stem_of(path):
        raise UserError(f"The output {path} is an ending only; put a name before it.")
    _require_replaceable(path, "output")


def check_picture_path(path: Path) -> None:
    """Raises `UserError` when the file name is not that of a PNG file."""
    if path.suffix.lower() != ".png":
        raise UserError(f"The picture {path} must end in .png.")
    _require_replaceable(path, "picture")


def _require_replaceable(path: Path, what: str) -> None:
    """Raises `UserError` when what is there is a folder, or a file that its owner has protected from writing."""
    if path.is_dir():
        raise UserError(f"The {what} {path} is a folder; give the name of a file in it.")
    if path.exists() and not os.access(path, os.W_OK):
        raise UserError(f"The {what} {path} is there already and may not be changed; choose another name.")


def require_not_an_input(output: Path, inputs: Sequence[Path | None]) -> None:
    """Raises `UserError` when writing `output` would replace one of the files that are read."""
    for path in inputs:
        if path is not None and path.exists() and output.exists() and output.samefile(path):
            raise UserError(f"The output {output} is the input {path} itself; give it another name.")


def stem_of(path: Path) -> str:
    """The file name without its ending, two-part endings included."""
    for ending in (*SEGMENTATION_ENDINGS, path.suffix):
        if ending and path.name.lower().endswith(ending):
            return path.name[: -len(ending)]
    return path.name


def require_writable(folder: Path) -> None:
    """Make the folder and write into it once, so that this fails before the work and not after it.

    Raises:
        UserError: it cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(f"The folder {folder} cannot be written ({error.strerror}); choose another output.") from error


def behind_links(path: Path) -> Path:
    """The file that a symbolic link stands for, also where that is not there yet; other paths as they are."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def write_whole(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a file in a folder beside `path`, then give it its name; nothing is left when it fails.

    A symbolic link stays one: the file that it stands for is replaced. Who may read the file is as the user's umask
    says: it shows patients.

    Raises:
        UserError: the disk is full, or the folder went away.
    """
    target = behind_links(path)
    try:
        with tempfile.TemporaryDirectory(prefix=".partial-", dir=target.parent) as folder:
            partial = Path(folder) / f"partial{path.suffix}"
            write(partial)
            os.replace(partial, target)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"{path} was not written ({reason}); free some space or choose another output.") from error
