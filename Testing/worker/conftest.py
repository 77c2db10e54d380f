"""A real inference process with a real (untrained, small) network, reached as Slicer reaches it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from worker_bench import Slicer


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    """An untrained nano network at 128 px: what is tested here is the way to the masks, not the masks."""
    import torch
    from SAM2_3dMedLib.network.build import build_network
    from SAM2_3dMedLib.network.checkpoint import CheckpointMetadata, save_checkpoint
    from SAM2_3dMedLib.network.config import network_config

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "untrained.safetensors"
    metadata = CheckpointMetadata(name="untrained", training_data="none", licence="Apache-2.0")
    save_checkpoint(path, build_network(network_config("nano", 128)), metadata)
    return path


@pytest.fixture(scope="session")
def shared_worker(weights):
    """One process for all tests that leave it running: torch takes seconds to load."""
    side = Slicer()
    side.answer(side.client.load_model(weights, "cpu"))
    yield side
    side.client.stop()


@pytest.fixture
def slicer_side(shared_worker):
    """A running client with the model loaded and no volume."""
    yield shared_worker
    for volume_id in tuple(shared_worker.client._memory.open_volumes):
        shared_worker.client.close_volume(volume_id)
    shared_worker.until(lambda: not shared_worker.client.busy)
    shared_worker.events.clear()


@pytest.fixture
def own_worker(weights):
    """As `slicer_side`, with a process of its own: for tests that end it."""
    side = Slicer()
    side.answer(side.client.load_model(weights, "cpu"))
    yield side
    side.client.stop()
