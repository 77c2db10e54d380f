"""What the benchmark runs on: a phantom or a file as a volume, the prompts of an imagined user, and networks.

On a bare GPU machine there is torch, numpy and sam2, and nothing that reads images: nothing here imports SimpleITK
unless a file is given.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from ..network.build import build_network
from ..network.checkpoint import load_checkpoint
from ..network.config import Parts, network_config
from ..network.model import SAM23dMed
from ..volume.array_volume import ArrayVolume
from ..volume.planes import SliceAxis
from ..weights.manifest import resolve_weights
from .errors import UserError

AXIS = SliceAxis.K
# Air, fat, muscle and two organs with contrast, in HU.
_AIR, _FAT, _MUSCLE, _LIVER, _SPLEEN = -1000, -100, 50, 110, 140
_NOISE_HU = 12.0


Corner = tuple[float, float, float]


@dataclass(frozen=True)
class Scene:
    """A volume and what is asked of it; all positions are voxels (i, j, k) on slices along K.

    Attributes:
        box: two corners around the object on `middle`.
        click: inside the object on `middle`.
        second_box: around another object on the same slice.
        correction: inside the object, halfway from the middle to the end of the volume.
    """

    volume: ArrayVolume
    middle: int
    box: tuple[Corner, Corner]
    click: Corner
    second_box: tuple[Corner, Corner]
    correction: Corner

    @property
    def slice_count(self) -> int:
        return self.volume.array.shape[0]


def phantom_scene(slices: int, side: int = 512) -> Scene:
    """A body with two organs through all slices, side x side voxels each, int16 HU, the same at every call."""
    rows, columns = (np.mgrid[:side, :side] + 0.5) / side - 0.5
    generator = np.random.default_rng(0)
    noise = generator.normal(0, _NOISE_HU, (4, side, side)).astype(np.float32)
    array = np.empty((slices, side, side), np.int16)
    for index in range(slices):
        # -1 to 1 through the volume; organs drift and change size, but reach its ends.
        height = 2 * (index + 0.5) / slices - 1
        picture = np.full((side, side), _AIR, np.float32)
        body = (rows / 0.36) ** 2 + (columns / 0.46) ** 2
        picture[body < 1] = _FAT
        picture[body < 0.8] = _MUSCLE
        liver, spleen = (_inside(rows, columns, height, *organ) for organ in _ORGANS)
        picture[liver] = _LIVER
        picture[spleen] = _SPLEEN
        array[index] = picture + noise[index % 4]
    affine = np.diag([-0.7, -0.7, 1.5, 1.0])
    middle = slices // 2
    scale = np.array([side, side])
    liver_center, spleen_center = ((np.array(organ[:2]) + 0.5) * scale for organ in _ORGANS)
    quarter = middle + max(1, (slices - middle) // 2)
    return Scene(
        ArrayVolume(array, affine, name="phantom"),
        middle,
        _box_around(liver_center, 0.15 * side, middle),
        _at(liver_center, middle),
        _box_around(spleen_center, 0.09 * side, middle),
        _at(liver_center, quarter),
    )


# Center row, center column (in sides, 0 is the middle), radius, drift in columns and change of the radius.
_ORGANS = ((-0.02, -0.2, 0.13, 0.05, 0.3), (0.06, 0.24, 0.075, -0.03, 0.2))


def _inside(
    rows: np.ndarray, columns: np.ndarray, height: float, row: float, column: float, radius: float, *change: float
) -> np.ndarray:
    drift, shrink = change
    reach = radius * (1 - shrink * height * height)
    return (rows - row) ** 2 + (columns - column - drift * height) ** 2 < reach**2


def _at(center: np.ndarray, index: int) -> Corner:
    return float(round(center[1])), float(round(center[0])), float(index)


def _box_around(center: np.ndarray, reach: float, index: int) -> tuple[Corner, Corner]:
    i, j, k = _at(center, index)
    reach = float(round(reach))
    return (i - reach, j - reach, k), (i + reach, j + reach, k)


def file_scene(path: Path, box: str | None = None) -> Scene:
    """A volume file.

    Args:
        box: "I1,J1,K,I2,J2,K" around the object; None: a box where a large organ often is.

    Raises:
        VolumeError: the file cannot be read.
        UserError: the box is not six numbers on one slice of the volume.
    """
    from ..volume.images import read_volume  # SimpleITK: only where a file is to be read

    read = read_volume(path)
    slices, height, width = read.array.shape
    first, second = (np.array([0.45 * height, share * width]) for share in (0.3, 0.7))
    if box is None:
        corners = _box_around(first, 0.15 * min(height, width), slices // 2)
    else:
        corners = _read_box(box, read.array.shape[::-1])
    middle = int(corners[0][2])
    center = (np.array(corners[0]) + np.array(corners[1]))[1::-1] / 2
    volume = ArrayVolume(read.array, read.ijk_to_ras, read.name, read.modality, read.declared_window)
    return Scene(
        volume,
        middle,
        corners,
        _at(center, middle),
        _box_around(second, 0.1 * min(height, width), middle),
        _at(center, min(slices - 1, middle + max(1, (slices - middle) // 2))),
    )


def _read_box(text: str, shape_ijk: tuple[int, ...]) -> tuple[Corner, Corner]:
    try:
        i1, j1, k1, i2, j2, k2 = (float(part) for part in text.split(","))
    except ValueError as error:
        raise UserError(f"The box '{text}' is not six numbers; give I1,J1,K,I2,J2,K.") from error
    inside = all(0 <= value < size for value, size in zip((i1, j1, k1, i2, j2, k2), shape_ijk * 2, strict=True))
    if k1 != k2 or not inside:
        raise UserError(f"The box '{text}' must lie inside the image, on one slice along K; give other corners.")
    return (i1, j1, k1), (i2, j2, k2)


def random_network(size: str, image_size: int | None) -> SAM23dMed:
    """A named size with random weights, the same at every call, so scaled that its masks are neither empty nor full,
    follow the image and depend on memory. Such masks say nothing of anatomy, but two implementations must agree.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = build_network(network_config(size, image_size))
        with torch.no_grad():
            decoder = network.sam_mask_decoder
            for projection in (decoder.conv_s0, decoder.conv_s1):
                projection.weight.mul_(6)
            # Always there: a score around zero would empty masks by rounding.
            decoder.pred_obj_score_head.layers[-1].bias.add_(4.0)
            for head in decoder.output_hypernetworks_mlps:
                head.layers[-1].bias.normal_()
                head.layers[-1].weight.mul_(4)
            for layer in network.memory_attention.layers:
                layer.cross_attn_image.out_proj.weight.mul_(4)
                layer.cross_attn_image.q_proj.weight.mul_(3)
    return network


def without_parts(network: SAM23dMed) -> SAM23dMed:
    """Plain SAM2 with the same weights: what `SAM2VideoPredictor` can run of a network that has the paper's parts."""
    if network.config.parts == Parts.none():
        return network
    plain = build_network(replace(network.config, parts=Parts.none()))
    plain.load_state_dict({name: value for name, value in network.state_dict().items() if name in plain.state_dict()})
    return plain


def trained_network(weights: str | None, image_size: int | None) -> tuple[SAM23dMed, str]:
    """The network of a weight file or a published name (None: the bundled one), and its name.

    Args:
        image_size: input side in pixels; None is what the weights were trained at.

    Raises:
        WeightsError, CheckpointError: the weights are missing, damaged or not ours.
    """
    path, sha256 = resolve_weights(weights)
    network, metadata = load_checkpoint(path, sha256)
    if image_size is not None and image_size != network.image_size:
        resized = build_network(replace(network.config, image_size=image_size))
        resized.load_state_dict(network.state_dict())
        network = resized
    return network, f"{metadata.name} {metadata.version}"
