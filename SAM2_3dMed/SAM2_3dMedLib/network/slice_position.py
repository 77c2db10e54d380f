"""SRPP: slice relative position prediction (paper section on SRPP; method.md). Used in training only."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class SlicePositionHead(nn.Module):
    """Predicts, for every ordered pair of slices of a clip, how many slices apart they are, signed.

    Each slice's embedding becomes one vector; a Transformer encoder runs over the D vectors; a light MLP answers for
    every pair (stated). No positional encoding over slices: it would leak the answer. The pair head is
    f(i, j) - f(j, i), so that the prediction is antisymmetric by construction (ours).

    Args:
        channels: C of the embedding.
        pool: side of the pooled map that becomes the slice's vector.
        width, layers, heads, feedforward: of the Transformer encoder (sizes not reported in the paper: ours).
    """

    def __init__(self, channels: int, pool: int, width: int, layers: int, heads: int, feedforward: int) -> None:
        super().__init__()
        self.pool = pool
        self.project = nn.Linear(channels * pool * pool, width)
        layer = nn.TransformerEncoderLayer(width, heads, feedforward, dropout=0.0, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, layers, norm=nn.LayerNorm(width), enable_nested_tensor=False)
        self.first = nn.Linear(width, width)
        self.second = nn.Linear(width, width)
        self.out = nn.Linear(width, 1)

    def forward(self, embeddings: Tensor) -> Tensor:
        """Relative positions.

        Args:
            embeddings: [B, D, C, h, w], what the segmentation branch sees.

        Returns:
            [B, D, D]; entry (i, j) estimates position j minus position i, in slices (or in the unit of the target).
        """
        batch, depth = embeddings.shape[:2]
        pooled = F.adaptive_avg_pool2d(embeddings.flatten(0, 1), self.pool).flatten(1)
        vectors = self.encoder(self.project(pooled).view(batch, depth, -1))
        pairs = F.gelu(self.first(vectors)[:, :, None] + self.second(vectors)[:, None, :])
        score = self.out(pairs).squeeze(-1)
        return score - score.transpose(1, 2)
