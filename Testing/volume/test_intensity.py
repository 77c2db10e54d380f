"""Which window an image gets, on real samples and on awkward values."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - its customary name
from SAM2_3dMedLib.volume import intensity
from SAM2_3dMedLib.volume.errors import VolumeError
from SAM2_3dMedLib.volume.images import Volume, read_volume
from SAM2_3dMedLib.volume.intensity import Window, window_from
from scipy.spatial.transform import Rotation


def volume_of(values: object, **fields: object) -> Volume:
    return Volume(np.asarray(values), np.eye(4), **fields)


@pytest.fixture(scope="module")
def sarcoma_ct(samples: Path) -> Volume:
    return read_volume(samples / "sarcoma_ct_img.nii.gz")


def test_samples_get_the_window_a_radiologist_would_choose(
    samples: Path, sarcoma_ct: Volume, sarcoma_mr: Volume
) -> None:
    assert window_from("auto", sarcoma_ct) == Window(-160, 240)  # HU, although the file does not say CT
    assert window_from("auto", read_volume(samples / "abdomen_ct_img.nii.gz")) == Window(
        0, 255
    )  # 8-bit, windowed before
    foreground = sarcoma_mr.array[sarcoma_mr.array > 0]
    window = window_from("auto", sarcoma_mr)
    assert 0.004 < np.mean(foreground < window.lower) < 0.006 or np.mean(foreground < window.lower) <= 0.005
    assert np.mean(foreground > window.upper) == pytest.approx(0.005, abs=0.001)


def test_all_real_cases_keep_their_objects_visible(shared_data: Path) -> None:
    """Labelled objects must not be all black or all white: of a mandible on the abdominal window half is white."""
    images = sorted((shared_data / "val").rglob("*_img.nii.gz")) + sorted(
        (shared_data / "val_unseen").rglob("*_img.nii.gz")
    )
    assert images
    for image in images[:: max(1, len(images) // 12)]:
        volume = read_volume(image)
        labels = read_volume(Path(str(image).replace("_img.", "_lab."))).array
        shown = intensity.apply(volume.array, window_from("auto", volume))[labels > 0]
        assert np.mean((shown > 0) & (shown < 1)) > 0.5, image.name


@pytest.mark.parametrize(
    ("words", "window"),
    [
        ("lung", Window(-1350, 150)),
        ("Soft Tissue", Window(-160, 240)),
        ("soft_tissue", Window(-160, 240)),
        ("40/400", Window(-160, 240)),
        (" -600 / 1500.0 ", Window(-1350, 150)),
        (".5/1", Window(0, 1)),
        (Window(3, 4), Window(3, 4)),
        ("full", Window(-1000, 1554)),
    ],
)
def test_windows_by_name_and_numbers(sarcoma_ct: Volume, words: str | Window, window: Window) -> None:
    assert window_from(words, sarcoma_ct) == window


@pytest.mark.parametrize("name", sorted(intensity.CT_WINDOWS))
def test_every_named_window_shows_tissue(sarcoma_ct: Volume, name: str) -> None:
    shown = intensity.apply(sarcoma_ct.array, window_from(name, sarcoma_ct))
    assert np.unique(shown).size > 20


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("kidney", "'kidney' is not known; use auto, file, percentiles, full, abdomen.*lung.*40/400"),
        ("40/0", "no width"),
        ("40/-5", "no width"),
        ("40", "is not known"),
        ("40/", "is not known"),
        ("nan/400", "is not known"),
        ("", "is not known"),
        ("file", "does not say which window"),
    ],
)
def test_unknown_windows_are_answered_with_what_there_is(sarcoma_ct: Volume, words: str, message: str) -> None:
    with pytest.raises(VolumeError, match=message):
        window_from(words, sarcoma_ct)


def test_a_window_of_the_file_counts_unless_it_shows_nothing(sarcoma_ct: Volume) -> None:
    declared = replace(sarcoma_ct, declared_window=Window(-200, 300))
    assert window_from("auto", declared) == window_from("file", declared) == Window(-200, 300)
    nonsense = replace(sarcoma_ct, declared_window=Window(20_000, 30_000))
    assert window_from("auto", nonsense) == Window(-160, 240)


def test_hounsfield_is_not_taken_from_other_images(sarcoma_ct: Volume) -> None:
    random = np.random.default_rng(1)
    phase = volume_of(random.integers(-4096, 4096, (20, 40, 40), dtype=np.int16))
    assert window_from("auto", phase).width > 7000
    scored = volume_of(random.normal(size=(20, 40, 40)).astype(np.float32))
    assert -3.5 < window_from("auto", scored).lower < window_from("auto", scored).upper < 3.5
    said_mr = replace(sarcoma_ct, modality="MR")
    assert window_from("auto", said_mr) != Window(-160, 240)
    padded = replace(sarcoma_ct, array=np.pad(sarcoma_ct.array, 30, constant_values=-3024))
    assert window_from("auto", padded) == Window(-160, 240)


def test_windowed_data_stay_as_they_are() -> None:
    values = np.linspace(0, 1, 8000).reshape(20, 20, 20)
    assert window_from("auto", volume_of(values.astype(np.float32))) == Window(0, 1)
    assert window_from("auto", volume_of((values * 255).round().astype(np.int16))) == Window(0, 255)
    dark = volume_of((values * 90).astype(np.uint8))
    assert window_from("auto", dark).upper < 91


@pytest.mark.parametrize("value", [0, -1000, 7, 1e30, -3e-12])
def test_a_constant_image_is_mid_gray(value: float) -> None:
    for words in ("auto", "percentiles", "full"):
        volume = volume_of(np.full((3, 4, 5), value, dtype=np.float64))
        np.testing.assert_allclose(intensity.apply(volume.array, window_from(words, volume)), 0.5, atol=1e-6)


def test_nan_is_black_and_infinity_is_the_end_of_the_range(sarcoma_mr: Volume) -> None:
    clean = sarcoma_mr.array.astype(np.float32)
    spoiled = clean.copy()
    spoiled[0, 0, :3] = np.nan, np.inf, -np.inf
    volume = replace(sarcoma_mr, array=spoiled)
    window = window_from("auto", volume)
    assert window.lower == pytest.approx(window_from("auto", sarcoma_mr).lower, abs=1)
    assert window.upper == pytest.approx(window_from("auto", sarcoma_mr).upper, abs=2)
    shown = intensity.apply(spoiled, window)
    assert shown.dtype == np.float32
    assert shown[0, 0, :3].tolist() == [0, 1, 0]
    assert np.isfinite(shown).all()
    assert shown.min() == 0
    assert shown.max() == 1


def test_a_few_bright_voxels_on_black_are_shown() -> None:
    values = np.zeros((10, 10, 10), dtype=np.int16)
    values[5, 5, 3:8] = 100
    assert window_from("auto", volume_of(values)) == Window(0, 100)


def test_large_offsets_and_integers_keep_their_steps() -> None:
    values = 1_000_000_000 + np.arange(8, dtype=np.int32).reshape(2, 2, 2)
    shown = intensity.apply(values, Window(1_000_000_000, 1_000_000_007))
    np.testing.assert_allclose(shown.ravel(), np.arange(8) / 7, atol=1e-6)
    extremes = np.array([-32768, 32767], dtype=np.int16)
    np.testing.assert_array_equal(intensity.apply(extremes, Window(-32768, 32767)), [0, 1])


def test_the_window_of_a_large_volume_depends_neither_on_sampling_nor_on_how_it_is_stored(
    sarcoma_mr: Volume, turn_all_ways: Callable[[Volume], Iterator[Volume]], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Even and odd side lengths: the sampled voxels must lie symmetrically in both.
    volume = replace(sarcoma_mr, array=np.ascontiguousarray(sarcoma_mr.array[:24, :, :74]))
    exact = window_from("auto", volume)
    monkeypatch.setattr(intensity, "MAX_SAMPLES", 5000)
    windows = {window_from("auto", turned) for turned in turn_all_ways(volume)}
    assert len(windows) == 1
    assert windows.pop().upper == pytest.approx(exact.upper, rel=0.06)


@pytest.mark.parametrize("padding", [0, -1024, -3024])
@pytest.mark.parametrize("interpolator", [sitk.sitkNearestNeighbor, sitk.sitkLinear, sitk.sitkBSpline])
@pytest.mark.parametrize("sample", ["abdomen_ct", "sarcoma_ct", "sarcoma_mr"])
def test_resampling_changes_no_window(samples: Path, sample: str, interpolator: int, padding: int) -> None:
    """-1024 around MR is not air, and what a cubic interpolation puts below zero is not fat."""
    image = sitk.Cast(sitk.ReadImage(str(samples / f"{sample}_img.nii.gz")), sitk.sitkInt16)
    turn = Rotation.from_euler("xyz", (10, -10, 10), degrees=True).as_matrix()
    directions = (turn @ np.array(image.GetDirection()).reshape(3, 3)).ravel().tolist()
    middle = np.array(image.TransformContinuousIndexToPhysicalPoint([(count - 1) / 2 for count in image.GetSize()]))
    size = [int(1.2 * count) for count in image.GetSize()]
    steps = np.array(image.GetSpacing()) * (np.array(size) - 1) / 2
    origin = (middle - np.array(directions).reshape(3, 3) @ steps).tolist()
    grid = (origin, image.GetSpacing(), directions, float(padding), image.GetPixelID())
    turned = sitk.Resample(image, size, sitk.Transform(3, sitk.sitkIdentity), interpolator, *grid)
    before, after = (
        window_from("auto", volume_of(sitk.GetArrayFromImage(one)))
        for one in (image, sitk.Clamp(turned, upperBound=float(sitk.GetArrayViewFromImage(image).max())))
    )
    assert after.lower == pytest.approx(before.lower, abs=0.06 * before.width)
    assert after.upper == pytest.approx(before.upper, abs=0.06 * before.width)


def test_a_phase_image_keeps_its_negative_half() -> None:
    values = np.random.default_rng(0).integers(-4096, 4096, (20, 20, 20))
    assert window_from("auto", volume_of(values)).lower < -4000
