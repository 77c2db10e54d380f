"""The image encoder as inference runs it: what does not depend on the image is computed once, in one precision.

SAM2's own forward pass (`network.encode`, which training uses) interpolates the position embedding for every image,
makes position encodings that nothing reads, and brings the two fine levels to full width before it narrows them again.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from .features import SliceFeatures
from .fused import use_fused_norms
from .model import SAM23dMed
from .trunk import trunk_levels


class SliceEncoder:
    """Gives what `network.encode` gives, up to rounding.

    Shares the network's modules and keeps products of their weights: make a new one when the weights or their device
    change.
    """

    def __init__(self, network: SAM23dMed) -> None:
        """
        Args:
            network: on its device, in float32 or from `reduced_copy`; evaluation mode.
        """
        encoder, decoder = network.image_encoder, network.sam_mask_decoder
        self._trunk = encoder.trunk
        coarsest, coarse, middle, fine = (entry.conv for entry in encoder.neck.convs)
        self._coarsest, self._coarse = coarsest, coarse
        self._dtype = coarse.weight.dtype
        side = network.image_size // 4
        with torch.inference_mode():
            self._positions = self._trunk._get_pos_embed((side, side)).to(self._dtype)
            self._middle = _one_after_the_other(middle, decoder.conv_s1)
            self._fine = _one_after_the_other(fine, decoder.conv_s0)

    def encode(self, images: Tensor) -> SliceFeatures:
        """Features of N slices [N, 3, S, S], normalized with SAM2's mean and standard deviation."""
        with torch.autocast(images.device.type, enabled=False):
            levels = trunk_levels(self._trunk, images.to(self._dtype), self._positions)
            fine, middle, coarse, coarsest = (maps.permute(0, 3, 1, 2) for maps in levels)
            above = F.interpolate(self._coarsest(coarsest), scale_factor=2.0, mode="nearest")
            return SliceFeatures(
                embedding=self._coarse(coarse) + above,
                high_res_s1=F.conv2d(middle, *self._middle),
                high_res_s0=F.conv2d(fine, *self._fine),
            )


def _one_after_the_other(first: nn.Conv2d, second: nn.Conv2d) -> tuple[Tensor, Tensor]:
    """Weight and bias of the one 1x1 convolution that does what two in a row do."""
    outer, inner = (entry.weight.float().flatten(1) for entry in (second, first))
    weight = (outer @ inner)[..., None, None]
    bias = outer @ first.bias.float() + second.bias.float()
    return weight.to(first.weight.dtype), bias.to(first.weight.dtype)


def reduced_copy(network: SAM23dMed, dtype: torch.dtype) -> SAM23dMed:
    """A copy whose matrix products and convolutions have their weights in `dtype`, for use under autocast.

    Autocast makes the same conversion at each use. In the image encoder the layer norms follow, so that `SliceEncoder`
    stays in one precision. The prompt encoder stays as it is: bfloat16 resolves 4 pixels at 512 (calibration.md).
    """
    copied = copy.deepcopy(network)
    precise = set(copied.sam_prompt_encoder.modules())
    for module in copied.modules():
        if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d) and module not in precise:
            module.to(dtype)
    for module in copied.image_encoder.modules():
        if isinstance(module, nn.LayerNorm):
            module.to(dtype)
    use_fused_norms(copied)
    return copied
