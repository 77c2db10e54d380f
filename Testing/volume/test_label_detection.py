"""Label maps are told from images, by the header or by the values."""

from dataclasses import replace

import numpy as np
import pytest
from SAM2_3dMedLib.volume.images import SegmentInfo, Volume, read_volume, write_label_map
from SAM2_3dMedLib.volume.label_detection import is_label_map

CASES = ("abdomen_ct", "sarcoma_ct", "sarcoma_mr", "spinalcord_t2")


@pytest.mark.parametrize("case", CASES)
def test_the_samples_and_their_reference_labels(samples, case):
    assert not is_label_map(read_volume(samples / f"{case}_img.nii.gz"))
    labels = read_volume(samples / f"{case}_lab.nii.gz")
    assert is_label_map(labels)
    assert is_label_map(replace(labels, array=labels.array.astype(np.float32)))


def test_few_gray_values_are_an_image(samples):
    image = read_volume(samples / "abdomen_ct_img.nii.gz")
    assert not is_label_map(replace(image, array=image.array // 8))  # 32 of them
    phantom = np.zeros((8, 20, 20), np.int16)
    phantom[2:6, 5:15, 5:15] = 200
    assert not is_label_map(Volume(phantom, np.eye(4)))
    assert not is_label_map(Volume(np.zeros((8, 20, 20), np.int16), np.eye(4)))  # a constant
    assert not is_label_map(Volume(phantom / 400, np.eye(4)))
    assert not is_label_map(Volume(np.where(phantom > 0, np.nan, 0.0), np.eye(4)))


def test_what_was_written_as_a_segmentation_is_one(tmp_path):
    labels = np.zeros((8, 20, 20), np.uint8)
    labels[2:6, 5:15, 5:15] = 200
    volume = Volume(labels, np.eye(4))
    for name, declared in (("a.seg.nrrd", True), ("a.nrrd", False)):
        write_label_map(tmp_path / name, labels, volume.geometry, [SegmentInfo(200, "x", (1, 1, 1))])
        assert is_label_map(read_volume(tmp_path / name)) is declared
