"""The device: only one that the installed torch can use, and the reason in words."""

import pytest
import torch
from SAM2_3dMedLib.worker.devices import card_is_supported, choose_device

WHEEL = ["sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120", "compute_120"]


@pytest.mark.parametrize(
    ("capability", "arches", "supported"),
    [
        ((9, 0), WHEEL, True),
        ((8, 9), WHEEL, True),  # runs code of 8.6
        ((6, 1), WHEEL, False),  # too old
        ((13, 0), WHEEL, True),  # newer than the wheel: compiled from the intermediate code
        ((12, 0), ["sm_80", "sm_90"], False),  # too new, no intermediate code
        ((9, 0), ["sm_90a"], True),
        ((8, 0), ["sm_86"], False),
        ((9, 0), [], False),
    ],
)
def test_a_card_counts_only_when_torch_has_code_for_it(capability, arches, supported):
    assert card_is_supported(capability, arches) is supported


@pytest.mark.skipif(torch.cuda.is_available() or torch.backends.mps.is_available(), reason="has a GPU")
@pytest.mark.parametrize("wanted", ["auto", "cuda", "cuda:3", "mps", "cpu"])
def test_without_a_gpu_the_cpu_is_used_and_the_sentence_says_why(wanted):
    choice = choose_device(wanted)
    assert choice.device == "cpu"
    assert choice.sentence.startswith("CPU, ")
    reason = {"cpu": "chosen by you", "mps": "Apple"}.get(
        wanted, "CUDA" if not torch.backends.cuda.is_built() else "GPU"
    )
    assert reason in choice.sentence
