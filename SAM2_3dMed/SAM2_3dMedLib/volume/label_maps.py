"""Segmentations to files: label maps, and Slicer's segmentation file `.seg.nrrd` with names and colors.

A file appears whole or not at all.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk  # noqa: N813 - its customary name

from .errors import VolumeError
from .geometry import Geometry
from .itk_quiet import itk_errors
from .seg_nrrd import write_seg_nrrd
from .segments import SegmentInfo, combine_masks, label_dtype, share_layers

SUFFIXES = (".seg.nrrd", ".nii.gz", ".nii", ".nrrd", ".mha")


def output_suffix(path: str | os.PathLike[str]) -> str:
    """Which of SUFFIXES `path` ends with. VolumeError for another ending."""
    name = Path(path).name.lower()
    for suffix in SUFFIXES:
        if name.endswith(suffix) and len(name) > len(suffix):
            return suffix
    raise VolumeError(f"The output '{path}' has no known ending; let its name end with {' or '.join(SUFFIXES)}.")


def check_path_text(path: Path) -> None:
    """VolumeError for a path that is no text (bytes of another encoding): ITK ends the whole process on it."""
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError as error:
        shown = str(path).encode("utf-8", "replace").decode("utf-8")
        raise VolumeError(f"The path '{shown}' holds bytes that are not UTF-8; rename the file or folder.") from error


def check_writable(path: str | os.PathLike[str]) -> None:
    """Find out, before the work starts, whether `path` can be written: its ending, its folder, and the right to put a
    file there. VolumeError otherwise.
    """
    output_suffix(path)
    target = _target(path)
    check_path_text(target)
    if target.is_dir():
        raise VolumeError(f"The output '{target}' is a folder; give the name of a file in it.")
    if not target.parent.is_dir():
        raise VolumeError(f"The folder '{target.parent}' does not exist; create it or choose another output.")
    try:
        handle, probe = tempfile.mkstemp(prefix=".partial-", dir=target.parent)
    except OSError as error:
        raise VolumeError(
            f"The folder '{target.parent}' is not writable ({error.strerror}); choose another output."
        ) from error
    os.close(handle)
    os.unlink(probe)


def _target(path: str | os.PathLike[str]) -> Path:
    """The file to replace: where the path is a symbolic link, what that stands for, so that it stays a link."""
    given = Path(path).expanduser().absolute()
    return Path(os.path.realpath(given)) if given.is_symlink() else given


def write_label_map(
    path: str | os.PathLike[str], labels: npt.NDArray, geometry: Geometry, segments: Sequence[SegmentInfo]
) -> None:
    """Write a label map on a volume's grid, as uint8 (uint16 above 255).

    path: ends with one of SUFFIXES; only `.seg.nrrd` keeps names and colors. labels: [K, J, I], integer, 0 is
    background; objects that overlap have been decided by the caller (`segments.combine_masks`: the later wins;
    `write_segments` keeps both). segments: in the order of Slicer's list; labels of the map that no segment names are
    an error, as Slicer would drop them. Raises VolumeError (no such folder, not writable, disk full, unknown ending);
    ValueError for labels that do not fit grid or segments.
    """
    _check_labels(labels, geometry, segments)
    layer = labels.astype(label_dtype(int(labels.max(initial=0))))
    if output_suffix(path) == ".seg.nrrd":
        _write_whole(path, lambda partial: write_seg_nrrd(partial, [layer], geometry, segments, [0] * len(segments)))
    else:
        _write_whole(path, lambda partial: _write_itk(partial, layer, geometry))


def write_segments(
    path: str | os.PathLike[str],
    masks: Sequence[npt.NDArray[np.bool_]],
    geometry: Geometry,
    segments: Sequence[SegmentInfo],
) -> None:
    """Write one mask [K, J, I] a segment; the masks may overlap.

    A `.seg.nrrd` keeps overlapping segments whole, in several layers; in every other format the later segment wins.
    Raises as `write_label_map`.
    """
    layers = share_layers(masks) if output_suffix(path) == ".seg.nrrd" else [0]
    if not masks or max(layers) == 0:
        labels = combine_masks(masks, segments) if masks else np.zeros(geometry.shape_kji, dtype=np.uint8)
        write_label_map(path, labels, geometry, segments)
        return
    maps = []
    for number in range(max(layers) + 1):
        chosen = [index for index, layer in enumerate(layers) if layer == number]
        maps.append(combine_masks([masks[index] for index in chosen], [segments[index] for index in chosen]))
        _check_labels(maps[-1], geometry, segments)
    _write_whole(path, lambda partial: write_seg_nrrd(partial, maps, geometry, segments, layers))


def _check_labels(labels: npt.NDArray, geometry: Geometry, segments: Sequence[SegmentInfo]) -> None:
    if tuple(labels.shape) != geometry.shape_kji:
        raise ValueError(
            f"The label map {tuple(labels.shape)} does not have the shape of the grid {geometry.shape_kji}."
        )
    if not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"A label map holds integers, not {labels.dtype}.")
    known = [segment.label for segment in segments]
    if len(set(known)) != len(known):
        raise ValueError(f"Two segments have the same label: {known}.")
    if unknown := set(_present(labels)) - {0, *known}:
        raise ValueError(f"The label map holds labels that no segment names: {sorted(unknown)}.")


def _present(labels: npt.NDArray) -> list[int]:
    """The values that occur, ascending."""
    if labels.size == 0 or labels.min() < 0 or labels.max() > np.iinfo(np.uint16).max:
        return np.unique(labels).tolist()
    # A table of 65536 flags: np.unique sorts, which takes seconds for 79 million voxels.
    seen = np.zeros(np.iinfo(np.uint16).max + 1, dtype=bool)
    for layer in labels:
        seen[layer] = True
    return np.flatnonzero(seen).tolist()


def _write_whole(path: str | os.PathLike[str], write: Callable[[Path], None]) -> None:
    """Write beside the target under another name, then rename: readers and a full disk never see half a file."""
    check_writable(path)
    target = _target(path)
    # A folder of its own, because ITK chooses the format by the file's ending.
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=target.parent) as folder:
        partial = Path(folder) / f"partial{output_suffix(path)}"
        try:
            write(partial)
            os.replace(partial, target)
        except OSError as error:
            raise VolumeError(
                f"'{target}' was not written ({error.strerror or error}); free some space or choose another output."
            ) from error


def _write_itk(partial: Path, labels: npt.NDArray, geometry: Geometry) -> None:
    image = sitk.GetImageFromArray(labels)
    lps = geometry.ijk_to_lps
    image.SetOrigin(lps[:3, 3].tolist())
    image.SetSpacing(geometry.spacing)
    image.SetDirection((lps[:3, :3] / np.asarray(geometry.spacing)).ravel().tolist())
    try:
        with itk_errors():
            sitk.WriteImage(image, str(partial), useCompression=True)
            # ITK keeps silent about a disk that fills up while it writes NIfTI: what is there must be what was meant.
            stored = sitk.ReadImage(str(partial))
            whole = np.array_equal(sitk.GetArrayViewFromImage(stored), labels)
    except RuntimeError as error:
        raise OSError("the disk is full or the folder went away") from error
    if not whole:
        raise OSError("the file was not written whole")
