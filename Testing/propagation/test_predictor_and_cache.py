"""Images as the network gets them, memory that runs out, and the cache's budget."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from SAM2_3dMedLib.propagation.errors import DeviceMemoryError
from SAM2_3dMedLib.propagation.features_cache import CacheBudget, TieredCache
from SAM2_3dMedLib.propagation.predictor import SlicePredictor
from SAM2_3dMedLib.propagation.session import VolumeSession
from SAM2_3dMedLib.volume.images import Volume
from SAM2_3dMedLib.volume.planes import SliceAxis


def test_a_slice_is_stretched_and_normalized_as_sam2_does(plain_predictor: SlicePredictor) -> None:
    pixels = plain_predictor.prepare([np.full((40, 60), 0.485, np.float32)])
    assert pixels.shape == (1, 3, 128, 128)
    assert pixels.dtype == torch.float32
    assert torch.allclose(pixels[0, 0], torch.zeros(128, 128), atol=1e-5)
    assert torch.allclose(pixels[0, 2], torch.full((128, 128), (0.485 - 0.406) / 0.225), atol=1e-5)


def test_a_mask_keeps_its_place_through_the_networks_resolution(plain_predictor: SlicePredictor) -> None:
    mask = np.zeros((64, 256), bool)
    mask[16:48, 64:128] = True
    sharp = plain_predictor.resize_mask(mask)
    assert np.array_equal(plain_predictor.masks_at_slice_size(sharp * 20 - 10, (64, 256))[0].numpy(), mask)


def _images(count: int) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [generator.random((20, 30), np.float32) for _ in range(count)]


def test_when_memory_runs_out_batches_shrink_and_nothing_else_changes(
    plain_predictor: SlicePredictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = _images(6)
    expected = plain_predictor.encode_slices(images)
    predictor = SlicePredictor(plain_predictor.network, "cpu", torch.float32)
    encode, sizes, released = predictor.encoder.encode, [], []

    def small_device(batch: torch.Tensor):
        sizes.append(len(batch))
        if len(batch) > 2:
            raise torch.OutOfMemoryError("out of memory")
        return encode(batch)

    monkeypatch.setattr(predictor.encoder, "encode", small_device)
    predictor.batch_size = 4
    predictor.on_low_memory(lambda: released.append(True))
    features = predictor.encode_slices(images)
    assert sizes == [4, 4, 2, 2, 2], "asked for release once, then halved"
    assert released == [True]
    assert predictor.batch_size == 2
    for ours, theirs in zip(features, expected, strict=True):
        assert torch.allclose(ours.embedding, theirs.embedding, atol=1e-4)


def test_when_not_even_one_slice_fits_it_is_said_in_a_sentence(
    plain_predictor: SlicePredictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(batch: torch.Tensor):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB")

    monkeypatch.setattr(plain_predictor.encoder, "encode", full)
    with pytest.raises(DeviceMemoryError, match=r"ran out of memory; .*\.$"):
        plain_predictor.encode_slices(_images(1))


def test_other_errors_are_not_taken_for_lack_of_memory(plain_predictor: SlicePredictor) -> None:
    def broken() -> None:
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes do not match"):
        plain_predictor.run(broken)


@dataclass
class _Value:
    nbytes: int
    place: str = "device"

    def to(self, device, non_blocking=False) -> "_Value":
        return _Value(self.nbytes, "host" if str(device) == "cpu" else "device")


def test_the_least_used_leaves_for_the_host_and_then_for_good() -> None:
    cache: TieredCache[_Value] = TieredCache(torch.device("meta"), CacheBudget(30, 20))
    for key in "abc":
        cache.put(key, _Value(10))
    cache.get("a")
    cache.put("d", _Value(10))
    assert (cache.device_bytes, cache.host_bytes) == (30, 10), "b has left for the host"
    assert cache.get("b").place == "device", "and comes back when needed"
    for key in "efg":
        cache.put(key, _Value(10))
    assert (cache.device_bytes, cache.host_bytes) == (30, 20)
    assert "a" not in cache
    cache.release_device()
    assert cache.device_bytes == 0
    assert cache.host_bytes <= 20
    for key in "hijk":
        cache.put(key, _Value(10))
    assert cache.device_bytes == 10, "half of what was too much"
    cache.clear()
    assert cache.host_bytes == 0


def test_on_the_cpu_there_is_one_tier() -> None:
    cache: TieredCache[_Value] = TieredCache(torch.device("cpu"), CacheBudget(20, 1000))
    for key in "abc":
        cache.put(key, _Value(10))
    assert (cache.device_bytes, cache.host_bytes) == (20, 0)
    assert cache.get("a") is None


def test_in_reduced_precision_a_session_stays_finite_and_near(
    full_predictor: SlicePredictor, mr_volume: Volume
) -> None:
    """bfloat16 by autocast, as on CUDA; here on the CPU."""
    previews = []
    for dtype in (torch.float32, torch.bfloat16):
        session = VolumeSession(SlicePredictor(full_predictor.network, "cpu", dtype), mr_volume)
        previews.append(session.add_box("a", SliceAxis.K, (20, 15, 12), (50, 40, 12)))
        updates = list(session.propagate("a", slice_range=(9, 15)))
        assert len(updates) == 7
        assert all(np.isfinite([update.score, update.object_score]).all() for update in updates)
    exact, reduced = previews
    assert (exact.mask == reduced.mask).mean() > 0.95
    assert exact.object_score == pytest.approx(reduced.object_score, abs=0.1)
