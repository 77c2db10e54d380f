"""A process of ours keeps to its share of a card, CUDA's own part included."""

from types import SimpleNamespace

import pytest
import torch
from SAM2_3dMedLib.network.build import build_network
from SAM2_3dMedLib.network.config import network_config
from SAM2_3dMedLib.propagation.device_limit import default_limit, limit_device_memory
from torch.cuda._utils import _get_device_index

GIB = 2**30


@pytest.fixture
def share(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What torch is told, on a card of 80 GB that is not there."""
    told: list[float] = []
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(total_memory=80 * GIB))
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)

    def set_fraction(share: float, device: torch.device | int) -> None:
        """As torch's own, which checks its device before it looks for a card."""
        _get_device_index(device)
        told.append(share)

    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", set_fraction)
    return told


def test_small_networks_stay_under_six_gigabytes_with_cuda_itself(share: list[float]) -> None:
    for size in ("nano", "tiny"):
        limit_device_memory(torch.device("cuda"), default_limit(build_network(network_config(size, 128))))
        assert share.pop() * 80 * GIB + 0.83 * GIB <= 6e9
    as_large = torch.nn.Linear(15_000, 15_000, device="meta")
    assert default_limit(as_large) is None


def test_a_limit_goes_away_and_never_exceeds_the_card(share: list[float]) -> None:
    limit_device_memory(torch.device("cuda"), None)
    limit_device_memory(torch.device("cuda"), 200 * GIB)
    limit_device_memory(torch.device("cuda"), 0)
    assert share == [1.0, 1.0, 0.0]
    limit_device_memory(torch.device("cpu"), 1)
    assert len(share) == 3
