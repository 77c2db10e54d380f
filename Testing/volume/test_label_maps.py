"""Segmentation files: the same voxels, grid, names and colors after reading, and never half a file."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from SAM2_3dMedLib.volume import label_maps, seg_nrrd
from SAM2_3dMedLib.volume.errors import VolumeError
from SAM2_3dMedLib.volume.geometry import Geometry, affine_from_parts
from SAM2_3dMedLib.volume.images import SegmentInfo, Volume, read_volume, write_label_map
from SAM2_3dMedLib.volume.label_maps import check_writable, write_segments
from SAM2_3dMedLib.volume.segments import combine_masks, default_color
from scipy.spatial.transform import Rotation

ENDINGS = [".seg.nrrd", ".nii.gz", ".nii", ".nrrd", ".mha"]
OBLIQUE = Rotation.from_euler("xyz", (12, -7, 25), degrees=True).as_matrix()
SEGMENTS = (SegmentInfo(1, "spinal cord", (0.9, 0.62, 0.0)), SegmentInfo(2, 'Größe \\ "x"\nzwei := 2', (0, 1, 0.5)))


def fresh_folder_is_clean(folder: Path, *expected: str) -> bool:
    return sorted(path.name for path in folder.iterdir()) == sorted(expected)


@pytest.fixture(scope="module")
def cord(samples: Path) -> Volume:
    return read_volume(samples / "spinalcord_t2_lab.nii.gz")


def grids(shape: tuple[int, int, int]) -> list[Geometry]:
    return [
        Geometry(affine_from_parts((-31.25, 8.5, 900), (0.7, 0.7, 5), directions), shape)
        for directions in (np.eye(3), OBLIQUE, OBLIQUE * [1, 1, -1])
    ]


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_label_map_is_read_back_on_the_same_grid(tmp_path: Path, cord: Volume, ending: str) -> None:
    labels = cord.array.astype(np.int64)
    labels[3, 4, 5:20] = 2
    for geometry in (cord.geometry, *grids(cord.shape_ijk)):
        path = tmp_path / f"out{ending}"
        write_label_map(path, labels, geometry, SEGMENTS)
        image = sitk.ReadImage(str(path))
        np.testing.assert_array_equal(sitk.GetArrayFromImage(image), labels)
        assert image.GetPixelID() == sitk.sitkUInt8
        assert read_volume(path).geometry.is_close(geometry, tolerance_mm=0.01)
        assert fresh_folder_is_clean(tmp_path, path.name)


def test_the_segmentation_of_a_file_lies_on_exactly_the_grid_of_that_file(tmp_path: Path, samples: Path) -> None:
    for name in ("abdomen_ct", "sarcoma_ct", "spinalcord_t2"):
        volume, truth = (read_volume(samples / f"{name}_{kind}.nii.gz") for kind in ("img", "lab"))
        segments = [
            SegmentInfo(int(label), f"organ {label}", default_color(n))
            for n, label in enumerate(np.unique(truth.array)[1:])
        ]
        write_label_map(tmp_path / "out.seg.nrrd", truth.array, volume.geometry, segments)
        np.testing.assert_allclose(read_volume(tmp_path / "out.seg.nrrd").ijk_to_ras, volume.ijk_to_ras, atol=1e-9)


def test_slicer_fields(tmp_path: Path, cord: Volume) -> None:
    labels = np.zeros(cord.array.shape, dtype=np.uint8)
    labels[2:5, 10:14, 20:27] = 1
    write_label_map(tmp_path / "a.seg.nrrd", labels, cord.geometry, SEGMENTS)
    image = sitk.ReadImage(str(tmp_path / "a.seg.nrrd"))
    tags = {key: image.GetMetaData(key) for key in image.GetMetaDataKeys()}
    assert tags["Segment0_Name"] == "spinal cord"
    assert tags["Segment1_Name"] == SEGMENTS[1].name
    assert tags["Segment0_Color"] == "0.9 0.62 0"
    assert tags["Segment0_LabelValue"] == "1"
    assert tags["Segment1_LabelValue"] == "2"
    assert tags["Segment0_Layer"] == tags["Segment1_Layer"] == "0"
    assert tags["Segment0_Extent"] == "20 26 10 13 2 4"
    assert tags["Segment1_Extent"] == "0 -1 0 -1 0 -1"
    assert tags["Segment0_ID"] != tags["Segment1_ID"]
    assert tags["Segmentation_MasterRepresentation"] == "Binary labelmap"
    assert tags["Segmentation_ReferenceImageExtentOffset"] == "0 0 0"


def test_many_labels_need_two_bytes(tmp_path: Path, cord: Volume) -> None:
    labels = cord.array.astype(np.uint16) * 300
    for ending in ENDINGS:
        write_label_map(tmp_path / f"a{ending}", labels, cord.geometry, [SegmentInfo(300, "cord", (1, 0, 0))])
        np.testing.assert_array_equal(read_volume(tmp_path / f"a{ending}").array, labels)


def test_overlapping_masks_keep_their_voxels_in_slicer_and_the_later_wins_elsewhere(
    tmp_path: Path, cord: Volume
) -> None:
    first = np.zeros(cord.array.shape, dtype=bool)
    second, third = first.copy(), first.copy()
    first[5:15], second[10:20], third[16:18] = True, True, True
    infos = [SegmentInfo(number, f"s{number}", default_color(number)) for number in (1, 2, 3)]
    masks = [first, second, third]
    write_segments(tmp_path / "a.nii.gz", masks, cord.geometry, infos)
    flat = read_volume(tmp_path / "a.nii.gz").array
    np.testing.assert_array_equal(flat, combine_masks(masks, infos))
    assert (flat[12] == 2).all()
    assert (flat[17] == 3).all()
    write_segments(tmp_path / "a.seg.nrrd", masks, cord.geometry, infos)
    image = sitk.ReadImage(str(tmp_path / "a.seg.nrrd"))
    layers = sitk.GetArrayFromImage(image)
    for number, (mask, info) in enumerate(zip(masks, infos, strict=True)):
        layer = int(image.GetMetaData(f"Segment{number}_Layer"))
        np.testing.assert_array_equal(layers[..., layer] == info.label, mask)
    assert layers.shape[-1] == 2  # the third shares the layer of the first


def test_the_same_segmentation_gives_the_same_bytes(tmp_path: Path, cord: Volume) -> None:
    for name in ("a.seg.nrrd", "b.seg.nrrd"):
        write_label_map(tmp_path / name, cord.array, cord.geometry, SEGMENTS)
    assert (tmp_path / "a.seg.nrrd").read_bytes() == (tmp_path / "b.seg.nrrd").read_bytes()


# What cannot be written


def test_outputs_that_cannot_be(tmp_path: Path, cord: Volume) -> None:
    (tmp_path / "folder.nii.gz").mkdir()
    for path, message in (
        (tmp_path / "none" / "a.nii.gz", "does not exist; create it or choose another output"),
        (tmp_path / "a.stl", "no known ending; let its name end with .seg.nrrd or .nii.gz"),
        (tmp_path / ".nii.gz", "no known ending"),
        (tmp_path / "folder.nii.gz", "is a folder"),
    ):
        with pytest.raises(VolumeError, match=message):
            check_writable(path)
        with pytest.raises(VolumeError, match=message):
            write_label_map(path, cord.array, cord.geometry, SEGMENTS)
    assert fresh_folder_is_clean(tmp_path, "folder.nii.gz")


def test_a_folder_that_may_not_be_written(tmp_path: Path, cord: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    # Root may write everywhere, so the refusal of the operating system is played.
    monkeypatch.setattr(label_maps.tempfile, "mkstemp", refuse)
    with pytest.raises(VolumeError, match="is not writable \\(Permission denied\\); choose another output"):
        write_label_map(tmp_path / "a.seg.nrrd", cord.array, cord.geometry, SEGMENTS)


DISK_FULL = """
import resource, signal, sys
import numpy as np
from SAM2_3dMedLib.volume.errors import VolumeError
from SAM2_3dMedLib.volume.geometry import Geometry
from SAM2_3dMedLib.volume.images import SegmentInfo, write_label_map

labels = np.random.default_rng(0).integers(0, 3, (40, 64, 64)).astype(np.uint8)
segments = [SegmentInfo(1, "a", (1, 0, 0)), SegmentInfo(2, "b", (0, 1, 0))]
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
try:
    write_label_map(sys.argv[1], labels, Geometry(np.eye(4), (64, 64, 40)), segments)
except VolumeError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="a limit on file sizes stands for the full disk; POSIX only")
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a{ending}"
    path.write_text("the result of yesterday")
    run = subprocess.run(
        [sys.executable, "-c", DISK_FULL, str(path)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "was not written" in run.stdout
    assert "free some space or choose another output." in run.stdout
    assert path.read_text() == "the result of yesterday"
    assert fresh_folder_is_clean(tmp_path, path.name)


def test_an_interrupted_write_leaves_nothing(tmp_path: Path, cord: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(seg_nrrd, "_extent", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_label_map(tmp_path / "a.seg.nrrd", cord.array, cord.geometry, SEGMENTS)
    assert fresh_folder_is_clean(tmp_path)


def test_labels_that_do_not_belong_to_grid_or_segments_are_refused(tmp_path: Path, cord: Volume) -> None:
    path = tmp_path / "a.seg.nrrd"
    with pytest.raises(ValueError, match="shape of the grid"):
        write_label_map(path, cord.array[1:], cord.geometry, SEGMENTS)
    with pytest.raises(ValueError, match=r"no segment names: \[1\]"):
        write_label_map(path, cord.array, cord.geometry, SEGMENTS[1:])
    with pytest.raises(ValueError, match="same label"):
        write_label_map(path, cord.array, cord.geometry, [SEGMENTS[0], SEGMENTS[0]])
    with pytest.raises(ValueError, match="1 to 65535"):
        SegmentInfo(0, "background", (0, 0, 0))
    with pytest.raises(ValueError, match="three numbers from 0 to 1"):
        SegmentInfo(1, "a", (255, 0, 0))
    assert fresh_folder_is_clean(tmp_path)
