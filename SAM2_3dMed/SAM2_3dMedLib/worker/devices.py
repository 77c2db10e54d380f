"""Which device computes, and one sentence that says why."""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class DeviceChoice:
    """`device` as torch writes it, `sentence` for the user, `free_memory` in bytes (0: not known)."""

    device: str
    sentence: str
    free_memory: int = 0


def choose_device(wanted: str = "auto") -> DeviceChoice:
    """The device for `wanted` ("auto", "cpu", "cuda", "cuda:N", "mps"); what cannot work is replaced by the CPU and
    the sentence says so.
    """
    cpu = f"CPU, {torch.get_num_threads()} threads"
    if wanted == "cpu":
        return DeviceChoice("cpu", f"{cpu} (chosen by you).")
    if wanted.startswith("cuda"):
        refusal = _cuda_refusal(_cuda_index(wanted))
        return _cuda_choice(_cuda_index(wanted)) if refusal is None else DeviceChoice("cpu", f"{cpu}: {refusal}.")
    if wanted == "mps":
        if torch.backends.mps.is_available():
            return DeviceChoice("mps", "Apple GPU (MPS, chosen by you).")
        return DeviceChoice("cpu", f"{cpu}: this computer offers no Apple GPU to torch.")
    refusal = _cuda_refusal(0)
    if refusal is None:
        return _cuda_choice(0)
    if torch.backends.mps.is_available():
        return DeviceChoice("mps", "Apple GPU (MPS).")
    return DeviceChoice("cpu", f"{cpu}: {refusal}.")


def card_is_supported(capability: tuple[int, int], arch_list: list[str]) -> bool:
    """Whether a torch built for `arch_list` (e.g. ["sm_80", "sm_90", "compute_90"]) runs on a card of this compute
    capability.

    Machine code (sm_XY) runs on cards of the same major version and the same or a higher minor one; intermediate
    code (compute_XY) on any newer card (CUDA C++ programming guide, "Binary compatibility" and "PTX
    compatibility").
    """
    for arch in arch_list:
        found = re.fullmatch(r"(sm|compute)_(\d+)(\d)[a-z]?", arch)
        if found is None:
            continue
        built = (int(found[2]), int(found[3]))
        if found[1] == "sm" and built[0] == capability[0] and built[1] <= capability[1]:
            return True
        if found[1] == "compute" and built <= capability:
            return True
    return False


def release_memory(device: str) -> None:
    """Gives cached GPU memory back, so that a second try has it."""
    if device.startswith("cuda"):
        torch.cuda.empty_cache()
    elif device == "mps":
        torch.mps.empty_cache()


def _cuda_index(wanted: str) -> int:
    _, _, index = wanted.partition(":")
    return int(index) if index.isdigit() else 0


def _cuda_refusal(index: int) -> str | None:
    """Why the card cannot be used, or None when it can."""
    if not torch.backends.cuda.is_built():
        return "the installed torch was built without CUDA"
    if not torch.cuda.is_available():
        return "torch finds no NVIDIA GPU or no driver that fits"
    if index >= torch.cuda.device_count():
        return f"there is no GPU number {index}"
    capability = torch.cuda.get_device_capability(index)
    if not card_is_supported(capability, torch.cuda.get_arch_list()):
        name = torch.cuda.get_device_name(index)
        return (
            f"the installed torch {torch.__version__} has no code for {name} "
            f"(compute capability {capability[0]}.{capability[1]}); "
            "install another torch with the PyTorch extension to use it"
        )
    try:
        torch.ones(1, device=f"cuda:{index}").add_(1).item()  # a driver that is too old only fails here
    except RuntimeError as error:
        return f"the GPU does not work with the installed torch ({str(error).splitlines()[0]})"
    return None


def _cuda_choice(index: int) -> DeviceChoice:
    free, total = torch.cuda.mem_get_info(index)
    name = torch.cuda.get_device_name(index)
    return DeviceChoice(
        f"cuda:{index}", f"GPU {name}, {free / 2**30:.1f} of {total / 2**30:.1f} GB free (CUDA).", int(free)
    )
