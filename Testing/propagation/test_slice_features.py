"""A slice's features do not depend on what else was encoded: they are those of the whole volume encoded at once."""

from dataclasses import replace

import pytest
import torch
from SAM2_3dMedLib.network.features import SliceFeatures
from SAM2_3dMedLib.propagation.predictor import SlicePredictor
from SAM2_3dMedLib.propagation.slice_features import SliceFeatureStore
from SAM2_3dMedLib.volume.images import Volume
from SAM2_3dMedLib.volume.intensity import Window
from SAM2_3dMedLib.volume.planes import SliceAxis


@pytest.mark.parametrize("backward", [False, True])
def test_features_are_those_of_the_whole_volume_at_once(
    full_predictor: SlicePredictor, mr_volume: Volume, backward: bool
) -> None:
    if backward:
        mr_volume = replace(mr_volume, array=mr_volume.array[::-1].copy())
    store = SliceFeatureStore(full_predictor, mr_volume, Window(0, 600))
    network, axis = full_predictor.network, SliceAxis.K
    count = mr_volume.array.shape[0]
    images = [store.image(axis, position) for position in range(count)]
    whole = SliceFeatures.stack(full_predictor.encode_slices(images))
    with full_predictor.running():
        valid = torch.ones(1, count, dtype=torch.bool)
        embedding = network.contextualize(whole.embedding[None], valid)[0]
        boundary = network.detect_boundary(embedding, whole)
    assert not torch.allclose(embedding, whole.embedding, atol=1e-2), "the adapter is in effect"
    for position in (0, 1, 12, count - 2, count - 1):
        features = store.features(axis, position)
        assert torch.allclose(features.embedding[0], embedding[position], atol=1e-4)
        assert torch.allclose(features.boundary.logits[0], boundary.logits[position], atol=1e-3)


def test_encoding_ahead_in_batches_encodes_nothing_twice(full_predictor: SlicePredictor, mr_volume: Volume) -> None:
    store = SliceFeatureStore(full_predictor, mr_volume, Window(0, 600))
    store.prefetch(SliceAxis.K, [5, 6, 7])
    assert store.encoded_count == 5
    store.features(SliceAxis.K, 6)
    store.prefetch(SliceAxis.K, [5, 6, 7])
    assert store.encoded_count == 5
    store.features(SliceAxis.K, 8)
    assert store.encoded_count == 6
