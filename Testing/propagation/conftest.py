"""A small network whose random weights give masks that follow the image and depend on memory; a bundled volume."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from SAM2_3dMedLib.network.build import build_network
from SAM2_3dMedLib.network.checkpoint import load_checkpoint
from SAM2_3dMedLib.network.config import DecoderConfig, MemoryConfig, NetworkConfig, Parts, TrunkConfig
from SAM2_3dMedLib.network.model import SAM23dMed
from SAM2_3dMedLib.propagation.predictor import SlicePredictor
from SAM2_3dMedLib.volume.images import Volume, read_volume
from SAM2_3dMedLib.weights.manifest import resolve_weights

SAMPLES = Path(__file__).parents[2] / "Resources" / "Samples"


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """One thread: sums then have one order, and a busy machine does not slow small matrices down."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def small_network(parts: Parts) -> SAM23dMed:
    """SAM2's structure, 128 px and few channels; weights scaled so that masks are neither empty nor full."""
    config = NetworkConfig(
        name="test",
        image_size=128,
        hidden_dim=64,
        trunk=TrunkConfig(16, 1, (1, 1, 2, 1), (3,), (7, 7), (8, 4, 8, 4)),
        memory=MemoryConfig(attention_layers=2, attention_feedforward=64, dropout=0.0, channels=32),
        decoder=DecoderConfig(mlp_dim=64, iou_head_hidden_dim=32),
        parts=parts,
    )
    torch.manual_seed(5)
    network = build_network(config)
    with torch.no_grad():
        decoder = network.sam_mask_decoder
        for projection in (decoder.conv_s0, decoder.conv_s1):
            projection.weight.mul_(6)
        decoder.pred_obj_score_head.layers[-1].bias.add_(2.0)
        for head in decoder.output_hypernetworks_mlps:
            head.layers[-1].bias.normal_()
            head.layers[-1].weight.mul_(4)
        for layer in network.memory_attention.layers:
            layer.cross_attn_image.out_proj.weight.mul_(4)
            layer.cross_attn_image.q_proj.weight.mul_(3)
        if network.adapter is not None:
            torch.nn.init.normal_(network.adapter.up.weight, std=0.2)
        if network.boundary_fusion is not None:
            torch.nn.init.constant_(network.boundary_fusion.gate, 0.5)
    return network


@pytest.fixture(scope="session")
def plain_predictor() -> SlicePredictor:
    """Plain SAM2."""
    return SlicePredictor(small_network(Parts.none()), "cpu", torch.float32)


@pytest.fixture(scope="session")
def full_predictor() -> SlicePredictor:
    """With adapter and boundary branch in effect."""
    return SlicePredictor(small_network(Parts.all()), "cpu", torch.float32)


@pytest.fixture(scope="session")
def bundled_predictor() -> SlicePredictor:
    """The weights that users get."""
    return SlicePredictor(load_checkpoint(*resolve_weights(None))[0], "cpu")


@pytest.fixture(scope="session")
def mr_volume() -> Volume:
    """25 slices of 55 x 75 voxels: a T1 MR of a thigh."""
    return read_volume(SAMPLES / "sarcoma_mr_img.nii.gz")


@pytest.fixture(scope="session")
def mr_labels() -> np.ndarray:
    """The tumor, bool [K, J, I], on the grid of `mr_volume`."""
    return read_volume(SAMPLES / "sarcoma_mr_lab.nii.gz").array > 0
