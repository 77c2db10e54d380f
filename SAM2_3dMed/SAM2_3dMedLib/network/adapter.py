"""Inter-slice adapter: a small residual block after the (frozen) encoder, through which slices see their neighbors.

Ours (method.md, 'A hole in the paper'): SRPP reads the output of a frozen encoder, so its loss would reach nothing that
segments. This block sits between the two and feeds all three branches. Its last layer starts at zero, so that training
starts as exact SAM2.
"""

from __future__ import annotations

import torch
from sam2.modeling.sam2_utils import LayerNorm2d
from torch import Tensor, nn


class InterSliceAdapter(nn.Module):
    """Per-slice bottleneck, then attention over the slices t-r..t+r at every position of the map.

    The window is local (r = 1 by default: three slices) so that a slice's embedding is the same whatever else has been
    encoded: the preview of a clicked slice needs 2r+1 encodings, and a cached embedding never becomes wrong.

    Args:
        channels: C of the embedding.
        bottleneck: width inside; a multiple of `heads`.
        heads: attention heads across slices.
        radius: r, neighbors seen on each side.
    """

    def __init__(self, channels: int, bottleneck: int, heads: int, radius: int) -> None:
        super().__init__()
        self.heads = heads
        self.radius = radius
        self.norm = LayerNorm2d(channels)
        self.down = nn.Conv2d(channels, bottleneck, kernel_size=1)
        # A 3x3 mix before the slices are compared: neighbors are shifted by a pixel or two where an organ is oblique.
        self.mix = nn.Conv2d(bottleneck, bottleneck, kernel_size=3, padding=1, groups=bottleneck)
        self.activation = nn.GELU()
        self.query = nn.Conv2d(bottleneck, bottleneck, kernel_size=1)
        self.key_value = nn.Conv2d(bottleneck, 2 * bottleneck, kernel_size=1)
        self.offset_bias = nn.Parameter(torch.zeros(2 * radius + 1, heads))
        self.offset_value = nn.Parameter(torch.zeros(2 * radius + 1, bottleneck))
        nn.init.trunc_normal_(self.offset_value, std=0.02)
        self.up = nn.Conv2d(bottleneck, channels, kernel_size=1)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, embeddings: Tensor, valid: Tensor) -> Tensor:
        """Adapt D neighboring slices.

        Args:
            embeddings: [B, D, C, h, w] in anatomical order.
            valid: [B, D] bool, False for padding beyond the volume's ends.

        Returns:
            [B, D, C, h, w].
        """
        return self._adapt(embeddings, valid, range(embeddings.shape[1]))

    def middle(self, windows: Tensor, valid: Tensor) -> Tensor:
        """The middle slice of windows of 2r+1 slices, without the others' answers: half the work of `forward`.

        Args:
            windows: [B, 2r+1, C, h, w] in anatomical order.
            valid: [B, 2r+1] bool, as for `forward`.

        Returns:
            [B, C, h, w].
        """
        return self._adapt(windows, valid, range(self.radius, self.radius + 1))[:, 0]

    def _adapt(self, embeddings: Tensor, valid: Tensor, places: range) -> Tensor:
        """The adapted slices at `places`, [B, len(places), C, h, w]."""
        batch, wanted = len(embeddings), slice(places.start, places.stop)
        inner = self.activation(self.mix(self.down(self.norm(embeddings.flatten(0, 1)))))
        own = inner.unflatten(0, (batch, -1))[:, wanted].flatten(0, 1)
        query = self._split(self.query(own), batch)
        key, value = (self._split(part, batch) for part in self.key_value(inner).chunk(2, dim=1))
        mixed = self._attend(query, key, value, valid, places).reshape(own.shape) + own
        return embeddings[:, wanted] + self.up(mixed).unflatten(0, (batch, -1))

    def _split(self, maps: Tensor, batch: int) -> Tensor:
        """[B*D, H*c, h, w] to [B, D, H, c, h, w]."""
        return maps.view(batch, -1, self.heads, maps.shape[1] // self.heads, *maps.shape[-2:])

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, valid: Tensor, places: range) -> Tensor:
        """What the slices at `places` see of their neighbors; `query` is theirs, `key` and `value` are of all."""
        depth, scale = key.shape[1], query.shape[3] ** -0.5
        scores, values = [], []
        for place, offset in enumerate(range(-self.radius, self.radius + 1)):
            neighbor = torch.arange(places.start, places.stop, device=query.device) + offset
            inside = (neighbor >= 0) & (neighbor < depth)
            neighbor = neighbor.clamp(0, depth - 1)
            score = (query * key[:, neighbor]).sum(dim=3) * scale + self.offset_bias[place].view(1, 1, -1, 1, 1)
            allowed = (inside & valid[:, neighbor])[..., None, None, None]
            # The slice itself is always allowed, so that a padded slice has a finite answer too.
            scores.append(score if offset == 0 else score.masked_fill(~allowed, float("-inf")))
            bias = self.offset_value[place].view(1, 1, *value.shape[2:4], 1, 1)
            values.append(value[:, neighbor] + bias)
        weights = torch.stack(scores).float().softmax(dim=0).to(query.dtype)
        return sum(weight.unsqueeze(3) * entry for weight, entry in zip(weights, values, strict=True))
