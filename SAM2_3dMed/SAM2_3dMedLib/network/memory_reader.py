"""Memory attention for tracking: each memory is projected once, when it is made, and not again for every slice.

SAM2 projects the keys and values of all memories in all layers for every slice. A key is linear in the memory, its
place and its age: `R W (memory + place + age) = R W (memory + place) + R W age`, R the rotation of its place. The first
part is kept with the memory, the second is a constant of the network. Attention does not mind in which order keys come.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from sam2.modeling.position_encoding import compute_axial_cis
from sam2.modeling.sam2_utils import get_1d_sine_pe
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from .fused import layer_norm, rotated
from .model import SAM23dMed
from .split_attention import SplitAttention

# How many lists of pointers' distances are kept with what they add, 18 kB each: the slices of some propagations. Each
# slice beyond a correction has a list of its own, and a session has no end of corrections.
_MOST_PLACES = 2048


@dataclass(frozen=True)
class ProjectedMemory:
    """Keys and values of one memory, or of some pointers, in all L layers: [L, B, N, C] each, N tokens.

    Keys of a memory are rotated and lack their age; those of pointers are complete.
    """

    keys: Tensor
    values: Tensor

    @property
    def nbytes(self) -> int:
        return self.keys.nbytes + self.values.nbytes


class MemoryReader:
    """`SAM23dMed.condition` in two steps: `project` and `read`. Gives the same up to rounding.

    Shares the network's modules and keeps products of their weights: make a new one when the weights or their device
    change. Inference only.
    """

    def __init__(self, network: SAM23dMed) -> None:
        """
        Args:
            network: on its device, in float32 or from `reduced_copy`; evaluation mode.
        """
        attention = network.memory_attention
        self._attention = attention
        self._pointer_place = network.obj_ptr_tpos_proj
        self._memory_slots = network.num_maskmem
        self.layer_count = len(attention.layers)
        self.width = network.hidden_dim
        self.pointer_tokens = network.hidden_dim // network.mem_dim
        side = network.sam_image_embedding_size
        self.memory_tokens = side * side
        device = network.maskmem_tpos_enc.device
        with torch.inference_mode():
            cross = [layer.cross_attn_image for layer in attention.layers]
            self._key = _stacked([entry.k_proj for entry in cross])
            self._value = _stacked([entry.v_proj for entry in cross])
            self._own = [_stacked([e.q_proj, e.k_proj, e.v_proj]) for e in (la.self_attn for la in attention.layers)]
            grid = torch.zeros(1, 1, side, side, device=device)
            self._memory_place = _sequence(network.memory_encoder.position_encoding(grid))
            self._image_place = 0.1 * _sequence(network.image_encoder.neck.position_encoding(grid))
            self._rotation = compute_axial_cis(dim=self.width, end_x=side, end_y=side).to(device)
            ages = F.linear(network.maskmem_tpos_enc.flatten(1).float(), self._key[0].float())
            ages = ages.unflatten(1, (self.layer_count, 1, 1, self.width)).expand(-1, -1, -1, self.memory_tokens, -1)
            self._ages = rotated(ages, self._rotation, self.dtype)
        self._attend = SplitAttention(device, self._key[0].dtype, self.width)
        self._pointer_places: dict[tuple[tuple[int, ...], int], Tensor] = {}

    @property
    def dtype(self) -> torch.dtype:
        """Of keys and values."""
        return self._key[0].dtype

    def age(self, slot: int) -> Tensor:
        """What a memory's keys lack, [L, 1, N, C]. Slot 0: a prompted slice; 1: the slice just before, and so on."""
        return self._ages[self._memory_slots - 1 if slot == 0 else slot - 1]

    def project(self, memory: Tensor) -> ProjectedMemory:
        """Keys and values of a spatial memory [B, M, h, w] of B slices."""
        tokens = _sequence(memory).float()
        keys = self._by_layer(F.linear(self._as(tokens + self._memory_place), *self._key))
        values = self._by_layer(F.linear(self._as(tokens), *self._value))
        return ProjectedMemory(rotated(keys, self._rotation, values.dtype), values)

    def project_pointers(self, pointers: Tensor, distances: Sequence[int], max_pointers: int) -> ProjectedMemory:
        """Keys and values of P pointers [P, B, C] of B slices; each is split into tokens of the same place."""
        key = (tuple(distances), max_pointers)
        if key not in self._pointer_places:
            if len(self._pointer_places) >= _MOST_PLACES:
                del self._pointer_places[next(iter(self._pointer_places))]
            places = torch.tensor(distances, dtype=torch.float32, device=pointers.device) / max(1, max_pointers - 1)
            places = self._pointer_place(get_1d_sine_pe(places, dim=self.width)).float()
            self._pointer_places[key] = places.repeat_interleave(self.pointer_tokens, dim=0)
        tokens = pointers.unflatten(2, (self.pointer_tokens, -1)).permute(1, 0, 2, 3).flatten(1, 2)
        keys = F.linear(self._as(tokens + self._pointer_places[key]), *self._key)
        values = F.linear(self._as(tokens), *self._value)
        return ProjectedMemory(self._by_layer(keys), self._by_layer(values))

    def read(self, embedding: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Fuse B slices' embedding [B, C, h, w] with all their memories and pointers (keys, values [L, B, T, C])."""
        state = _sequence(embedding).float() + self._image_place
        for number, layer in enumerate(self._attention.layers):
            own = F.linear(self._norm(layer.norm1, state), *self._own[number]).unflatten(-1, (3, self.width))
            query, key = rotated(own[..., :2, :].movedim(-2, 0), self._rotation, own.dtype)
            state = state + layer.self_attn.out_proj(self._attend(query, key, own[..., 2, :]))
            query = layer.cross_attn_image.q_proj(self._norm(layer.norm2, state))
            query = rotated(query, self._rotation, query.dtype)
            state = state + layer.cross_attn_image.out_proj(self._attend(query, keys[number], values[number]))
            state = state + layer.linear2(F.relu(layer.linear1(self._norm(layer.norm3, state))))
        return self._attention.norm(state).transpose(1, 2).reshape(embedding.shape)

    def _norm(self, norm: nn.LayerNorm, state: Tensor) -> Tensor:
        return layer_norm(norm, state, self.dtype)

    def _as(self, tokens: Tensor) -> Tensor:
        return tokens.to(self.dtype)

    def _by_layer(self, tokens: Tensor) -> Tensor:
        """[B, N, L*C] to [L, B, N, C]."""
        return tokens.unflatten(-1, (self.layer_count, self.width)).permute(2, 0, 1, 3)


def _stacked(projections: Sequence[torch.nn.Linear]) -> tuple[Tensor, Tensor]:
    """Weight and bias of several projections of the same input as one."""
    return torch.cat([entry.weight for entry in projections]), torch.cat([entry.bias for entry in projections])


def _sequence(maps: Tensor) -> Tensor:
    """[B, C, h, w] to [B, h*w, C]."""
    return maps.flatten(2).transpose(1, 2)
