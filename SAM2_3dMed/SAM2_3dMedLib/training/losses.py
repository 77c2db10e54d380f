"""The losses of SAM2-3dMed: segmentation, SAM2's IoU and object-score heads, SRPP and BD (arXiv 2510.08967).

Total: L = L_seg + 0.01 L_srpp + 0.1 L_bd (weights stated in the paper). L_seg is ours, as the paper's sources disagree:
pixel loss (BCE, or SAM2's focal loss) plus soft Dice, plus what SAM2's own IoU and object-score heads need.

Masks are compared at the decoder's stride of 4 with area-averaged targets in [0, 1]: a logit then learns how much of
its 4 x 4 pixels is covered, and the bilinear enlargement of the logits puts the outline between pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
import torch.nn.functional as functional
from monai.losses import DiceLoss

LOGIT_LIMIT = 32.0  # keeps a loss finite where SAM2 writes -1024 for "no object"


@dataclass(frozen=True)
class LossWeights:
    """Weights of the terms. `focal` replaces the pixel BCE by SAM2's focal loss (alpha 0.25, gamma 2; weigh it 20)."""

    pixel: float = 5.0
    dice: float = 1.0
    iou: float = 1.0
    object_score: float = 1.0
    srpp: float = 0.01
    bd: float = 0.1
    focal: bool = False


@dataclass(frozen=True)
class LossTerms:
    """Unweighted terms, scalars on the device."""

    pixel: torch.Tensor
    dice: torch.Tensor
    iou: torch.Tensor
    object_score: torch.Tensor
    srpp: torch.Tensor
    bd: torch.Tensor

    def total(self, weights: LossWeights) -> torch.Tensor:
        """The weighted sum."""
        return sum(getattr(self, entry.name) * getattr(weights, entry.name) for entry in fields(self))


def stride4_targets(masks: torch.Tensor) -> torch.Tensor:
    """Bool `[N, S, S]` -> covered share of each 4 x 4 block, float32 `[N, S/4, S/4]`."""
    return functional.avg_pool2d(masks.float()[:, None], 4)[:, 0]


def pixel_loss(logits: torch.Tensor, targets: torch.Tensor, focal: bool) -> torch.Tensor:
    """Mean over pixels of BCE (or focal loss), `[N, M]` for logits `[N, M, h, w]` and soft targets `[N, h, w]`."""
    expected = targets[:, None].expand_as(logits)
    loss = functional.binary_cross_entropy_with_logits(logits, expected, reduction="none")
    if focal:
        probability = logits.sigmoid()
        error = (probability - expected).abs()
        alpha = 0.25 * expected + 0.75 * (1 - expected)
        loss = loss * alpha * error**2
    return loss.mean((2, 3))


_SOFT_DICE = DiceLoss(sigmoid=True, reduction="none", smooth_nr=1.0, smooth_dr=1.0)


def dice_loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """MONAI's soft Dice loss of each candidate, `[N, M]` for logits `[N, M, h, w]` and soft targets `[N, h, w]`."""
    return _SOFT_DICE(logits, targets[:, None].expand_as(logits)).flatten(2).mean(2)


def mask_iou(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """IoU of thresholded candidates with the thresholded target, `[N, M]`; 1 where both are empty."""
    predicted, expected = logits > 0, (targets > 0.5)[:, None]
    union = (predicted | expected).sum((2, 3)).float()
    shared = (predicted & expected).sum((2, 3)).float()
    return torch.where(union > 0, shared / union.clamp_min(1), torch.ones_like(union))


@dataclass(frozen=True)
class MaskLosses:
    """Losses of one decoding, each `[N]`; `reached` is the IoU of the candidate that SAM2 would show."""

    pixel: torch.Tensor
    dice: torch.Tensor
    iou: torch.Tensor
    reached: torch.Tensor


def candidate_losses(
    candidates: torch.Tensor, predicted_iou: torch.Tensor, targets: torch.Tensor, weights: LossWeights
) -> MaskLosses:
    """SAM2's rule for several candidates: the best one carries the mask losses, all of them the IoU loss (L1).

    Args: candidates `[N, M, h, w]` logits; predicted_iou `[N, M]`; targets soft `[N, h, w]`.
    """
    logits = candidates.clamp(-LOGIT_LIMIT, LOGIT_LIMIT)
    pixel, dice = pixel_loss(logits, targets, weights.focal), dice_loss(logits, targets)
    best = (weights.pixel * pixel + weights.dice * dice).detach().argmin(1, keepdim=True)
    actual = mask_iou(logits.detach(), targets)
    iou = (predicted_iou.float() - actual).abs().mean(1)
    shown = predicted_iou.detach().argmax(1, keepdim=True)
    return MaskLosses(pixel.gather(1, best)[:, 0], dice.gather(1, best)[:, 0], iou, actual.gather(1, shown)[:, 0])


def object_score_loss(scores: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
    """BCE of the object-score logits `[N, 1]` with presence bool `[N]`, one value a slice `[N]`."""
    return functional.binary_cross_entropy_with_logits(scores[:, 0].float(), present.float(), reduction="none")


def srpp_loss(predicted: torch.Tensor, step: torch.Tensor | None = None) -> torch.Tensor:
    """Sum over i != j of (P_ij - (j - i))^2 / (D (D - 1)), mean over clips; predicted `[B, D, D]` (paper, SRPP).

    `step` `[B]`, where given, is the unit of one slice offset (spacing / 5 mm for `srpp_unit: mm`), else 1 slice.
    A clip of one slice has no pair: the loss is 0.
    """
    count = predicted.shape[1]
    if count < 2:
        return predicted.sum() * 0.0
    places = torch.arange(count, device=predicted.device, dtype=torch.float32)
    offsets = (places[None, :] - places[:, None])[None]
    if step is not None:
        offsets = offsets * step.float().view(-1, 1, 1)
    apart = 1 - torch.eye(count, device=predicted.device)
    return (((predicted.float() - offsets) ** 2) * apart).sum((1, 2)).mean() / (count * (count - 1))


def boundary_targets(masks: torch.Tensor, stride: int = 4) -> torch.Tensor:
    """In-plane morphological gradient (3 x 3 dilation minus erosion) max-pooled to `stride`: float32 `[N, S/4, S/4]`.

    Max-pooling keeps edges one pixel thin alive. Beyond the border the mask goes on as it is, so that the image's own
    border is no edge.
    """
    full = functional.pad(masks.float()[:, None], (1, 1, 1, 1), mode="replicate")
    edge = functional.max_pool2d(full, 3, stride=1) + functional.max_pool2d(-full, 3, stride=1)
    return functional.max_pool2d(edge, stride)[:, 0]


def boundary_loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Class-balanced BCE of logits `[N, 1, h, w]` with 0/1 targets `[N, h, w]` (paper, BD), mean over slices.

    Boundary pixels weigh N_nonbd / N and the others N_bd / N, counted in each slice; a slice without any boundary has
    weight 0 on all of its pixels and adds nothing.
    """
    share = targets.mean((1, 2), keepdim=True)
    weight = targets * (1 - share) + (1 - targets) * share
    loss = functional.binary_cross_entropy_with_logits(logits[:, 0].float(), targets, reduction="none")
    return (loss * weight).mean((1, 2)).mean()
