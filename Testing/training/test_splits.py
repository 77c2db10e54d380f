"""Five folds that anyone can make again from the names, written once and kept; archives that stay in their folder."""

import gzip
import io
import json
import tarfile
from functools import partial
from pathlib import Path

import pytest
from SAM2_3dMedLib.training.config import RECIPES
from SAM2_3dMedLib.training.data_layouts import LayoutError
from SAM2_3dMedLib.training.splits import SplitError, fold_of, make_folds, read_folds, write_folds
from SAM2_3dMedLib.training.unpacking import unpack

PUBLISHED = sorted((RECIPES / "splits").glob("*.json"))
NAMES = [f"case_{number:02d}" for number in range(23)]


def test_every_case_validates_once_and_the_folds_are_nearly_equal() -> None:
    folds = make_folds(NAMES)
    assert sorted(name for fold in folds for name in fold.val) == NAMES
    assert {len(fold.val) for fold in folds} == {4, 5}
    assert all(not set(fold.train) & set(fold.val) for fold in folds)
    assert make_folds(reversed(NAMES)) == folds
    assert make_folds(NAMES, seed=1) != folds


@pytest.mark.parametrize(
    ("path", "count"), list(zip(PUBLISHED, (63, 281, 41), strict=True)), ids=lambda value: str(value)[-12:]
)
def test_the_published_folds_are_what_the_rule_makes(path: Path, count: int) -> None:
    folds = read_folds(path)
    names = {*folds[0].train, *folds[0].val}
    assert len(names) == count
    assert make_folds(names) == folds


def test_folds_are_written_once_and_kept(tmp_path) -> None:
    kept = tmp_path / "splits.json"
    fold = fold_of(2, NAMES, kept)
    written = kept.read_text()
    assert fold_of(2, NAMES[:-3], kept) == fold  # a case that cannot be used any more changes nothing
    assert kept.read_text() == written
    with pytest.raises(SplitError, match="does not know the case new "):
        fold_of(2, [*NAMES, "new"], kept)
    with pytest.raises(SplitError, match=r"no fold 7 .* 0 to 4"):
        fold_of(7, NAMES, kept)
    own = write_folds(tmp_path / "own.json", make_folds(NAMES, seed=9))
    assert fold_of(2, NAMES, kept, own) != fold


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{}x", "cannot be read"),
        (json.dumps([{"train": ["a"]}]), "cannot be read"),
        (json.dumps([{"train": ["a", "b"], "val": ["b"]}]), "train and validate on b"),
    ],
)
def test_a_file_of_folds_that_cannot_be_used_is_named(tmp_path, content, message) -> None:
    path = tmp_path / "splits.json"
    path.write_text(content)
    with pytest.raises(SplitError, match=message):
        fold_of(0, ["a", "b"], tmp_path / "kept.json", path)


def test_too_few_cases_for_folds_are_told_the_way_out(tmp_path) -> None:
    with pytest.raises(SplitError, match=r"4 cases are too few .* 'fold: null'"):
        fold_of(0, NAMES[:4], tmp_path / "splits.json")
    assert not (tmp_path / "splits.json").exists()


def _archive(path: Path, *names: str) -> Path:
    with tarfile.open(path, "w") as archive:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = 2
            archive.addfile(member, io.BytesIO(b"{}"))
    return path


def test_only_what_training_needs_is_unpacked_and_only_once(tmp_path) -> None:
    names = ("dataset.json", "imagesTr/a.nii.gz", "imagesTr/._a.nii.gz", "imagesTs/b.nii.gz", "labelsTr/a.nii.gz")
    archive = _archive(tmp_path / "Task09_Spleen.tar", *(f"Task09_Spleen/{name}" for name in names))
    folder = unpack(archive, tmp_path / "data")
    found = {str(path.relative_to(folder / "Task09_Spleen")) for path in folder.rglob("*") if path.is_file()}
    assert found == {"dataset.json", "imagesTr/a.nii.gz", "labelsTr/a.nii.gz"}
    archive.unlink()
    assert unpack(archive, tmp_path / "data") == folder


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("../imagesTr/escaped.nii.gz", "dataset.json"), "could not be unpacked"),
        (("imagesTr/a.nii.gz",), "holds no dataset.json"),
    ],
)
def test_an_archive_that_is_unsafe_or_no_data_set_leaves_nothing(tmp_path, names, message) -> None:
    archive = _archive(tmp_path / "Task.tar", *names)
    with pytest.raises(LayoutError, match=message):
        unpack(archive, tmp_path / "in" / "data")
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path != archive]


def test_endings_may_be_in_capitals(tmp_path) -> None:
    archive = _archive(tmp_path / "Task09.TAR", "dataset.json")
    assert unpack(archive, tmp_path / "data") == tmp_path / "data" / "Task09"


@pytest.mark.parametrize("packing", [bytes, gzip.compress, partial(gzip.compress, compresslevel=0)])
def test_a_damaged_archive_leaves_nothing(tmp_path, packing) -> None:
    """tarfile itself stops without a word where a header is damaged, and the rest would be missing."""
    plain = _archive(tmp_path / "plain.tar", "dataset.json", *(f"imagesTr/{number}.nii.gz" for number in range(200)))
    stored = bytearray(packing(plain.read_bytes()))
    middle = len(stored) // 2
    stored[middle : middle + 2000] = bytes(byte ^ 0x5A for byte in stored[middle : middle + 2000])
    archive = tmp_path / ("Task.tar" if packing is bytes else "Task.tar.gz")
    archive.write_bytes(stored)
    with pytest.raises(LayoutError, match="could not be unpacked"):
        unpack(archive, tmp_path / "data")
    assert list((tmp_path / "data").iterdir()) == []
