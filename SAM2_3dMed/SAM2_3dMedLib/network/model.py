"""The network: SAM2's modules behind typed calls, with the paper's parts between them.

SAM2's own forward passes carry their state in dictionaries keyed by frame; here a caller hands over exactly the
memories and pointers that a slice shall see, so that memory policies live outside the network and can be compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from sam2.modeling.sam.mask_decoder import MaskDecoder
from sam2.modeling.sam.prompt_encoder import PromptEncoder
from sam2.modeling.sam.transformer import TwoWayTransformer
from sam2.modeling.sam2_base import NO_OBJ_SCORE, SAM2Base
from sam2.modeling.sam2_utils import MLP, get_1d_sine_pe
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from .adapter import InterSliceAdapter
from .boundary import BoundaryBranch, BoundaryFusion
from .config import NetworkConfig
from .features import BoundaryMaps, MaskDecoding, MemoryItem, PointerItem, PromptEmbedding, SliceFeatures
from .sam2_settings import SAM2_SETTINGS
from .slice_position import SlicePositionHead


class SAM23dMed(SAM2Base):
    """SAM2 with inter-slice adapter, SRPP head, BD branch and BD fusion, each only if the configuration says so.

    Use `build.build_network`. Attributes of the paper's parts are None when switched off.
    """

    def __init__(
        self, config: NetworkConfig, image_encoder: nn.Module, memory_attention: nn.Module, memory_encoder: nn.Module
    ) -> None:
        # SAM2Base builds its heads inside its constructor, through our _build_sam_heads, which needs the sizes.
        object.__setattr__(self, "config", config)
        super().__init__(
            image_encoder,
            memory_attention,
            memory_encoder,
            num_maskmem=config.memory.num_maskmem,
            image_size=config.image_size,
            **SAM2_SETTINGS,
        )
        sizes, parts = config.part_sizes, config.parts
        self.adapter: InterSliceAdapter | None = None
        self.slice_position: SlicePositionHead | None = None
        self.boundary: BoundaryBranch | None = None
        self.boundary_fusion: BoundaryFusion | None = None
        if parts.adapter:
            self.adapter = InterSliceAdapter(
                config.hidden_dim, sizes.adapter_channels, sizes.adapter_heads, sizes.adapter_radius
            )
        if parts.srpp:
            self.slice_position = SlicePositionHead(
                config.hidden_dim,
                sizes.srpp_pool,
                sizes.srpp_channels,
                sizes.srpp_layers,
                sizes.srpp_heads,
                sizes.srpp_feedforward,
            )
        if parts.bd:
            self.boundary = BoundaryBranch(config.hidden_dim, sizes.bd_channels, sizes.bd_heads)
        if parts.bd_fusion:
            self.boundary_fusion = BoundaryFusion(config.hidden_dim)

    def _build_sam_heads(self) -> None:
        """Prompt encoder, mask decoder and pointer projections as SAM2Base builds them, with our decoder sizes."""
        width, sizes = self.hidden_dim, self.config.decoder
        self.sam_prompt_embed_dim = width
        self.sam_image_embedding_size = self.config.embedding_size
        self.sam_prompt_encoder = PromptEncoder(
            embed_dim=width,
            image_embedding_size=(self.sam_image_embedding_size,) * 2,
            input_image_size=(self.image_size,) * 2,
            mask_in_chans=16,
        )
        self.sam_mask_decoder = MaskDecoder(
            num_multimask_outputs=3,
            transformer=TwoWayTransformer(sizes.depth, width, num_heads=sizes.num_heads, mlp_dim=sizes.mlp_dim),
            transformer_dim=width,
            iou_head_depth=3,
            iou_head_hidden_dim=sizes.iou_head_hidden_dim,
            use_high_res_features=True,
            iou_prediction_use_sigmoid=self.iou_prediction_use_sigmoid,
            pred_obj_scores=self.pred_obj_scores,
            pred_obj_scores_mlp=self.pred_obj_scores_mlp,
            use_multimask_token_for_obj_ptr=self.use_multimask_token_for_obj_ptr,
            **self.sam_mask_decoder_extra_args,
        )
        self.obj_ptr_proj = MLP(width, width, width, 3)
        self.obj_ptr_tpos_proj = nn.Linear(width, self.mem_dim)

    # -- image features ------------------------------------------------------------------------------------------------

    @property
    def adapter_radius(self) -> int:
        """How many neighbors on each side an embedding depends on; 0 without adapter."""
        return 0 if self.adapter is None else self.adapter.radius

    def encode(self, images: Tensor) -> SliceFeatures:
        """Encoder features of N slices, before the adapter: what a cache keeps.

        Args:
            images: [N, 3, S, S], normalized with SAM2's mean and standard deviation.
        """
        s0, s1, embedding = self.forward_image(images)["backbone_fpn"]
        return SliceFeatures(embedding, s1, s0)

    def contextualize(self, embeddings: Tensor, valid: Tensor) -> Tensor:
        """Inter-slice adapter over D neighboring slices in anatomical order; the identity when it is switched off.

        Args:
            embeddings: [B, D, C, h, w] from `encode`.
            valid: [B, D] bool, False for padding beyond the volume's ends.
        """
        return embeddings if self.adapter is None else self.adapter(embeddings, valid)

    def contextualize_middle(self, windows: Tensor, valid: Tensor) -> Tensor:
        """`contextualize`, only for the middle slices [B, C, h, w] of windows [B, 2r+1, C, h, w]."""
        return windows[:, self.adapter_radius] if self.adapter is None else self.adapter.middle(windows, valid)

    def detect_boundary(self, embedding: Tensor, features: SliceFeatures) -> BoundaryMaps | None:
        """Boundary maps of B slices from their adapted embedding; None when the branch is switched off."""
        return None if self.boundary is None else self.boundary(embedding, features)

    def relative_positions(self, embeddings: Tensor) -> Tensor:
        """SRPP's estimate [B, D, D] of position j minus position i for a clip [B, D, C, h, w]. Training only.

        Raises:
            RuntimeError: the network was built without SRPP.
        """
        if self.slice_position is None:
            raise RuntimeError("This network was built without SRPP; build it with Parts(srpp=True) to train with it.")
        return self.slice_position(embeddings)

    # -- memory --------------------------------------------------------------------------------------------------------

    def condition(
        self,
        embedding: Tensor,
        memories: Sequence[MemoryItem],
        pointers: Sequence[PointerItem],
        max_pointers: int = 16,
    ) -> Tensor:
        """Fuse B slices' embedding with memories (SAM2's `_prepare_memory_conditioned_features`).

        Args:
            embedding: [B, C, h, w], after the adapter.
            memories: spatial memories; none at all means the no-memory embedding is added instead.
            pointers: object pointers.
            max_pointers: normalizes the pointers' distances (SAM2: min(16, slices in the volume)).

        Returns:
            [B, C, h, w].
        """
        embedding = embedding.float()  # sums over the layers stay in full precision, as SAM2's own embedding has it
        if not memories:
            return embedding + self.no_mem_embed.view(1, -1, 1, 1)
        tokens, positions = [], []
        for item in memories:
            features = item.features.to(embedding.dtype)
            place = self.memory_encoder.position_encoding(features)
            time = self.maskmem_tpos_enc[self.num_maskmem - 1 if item.slot == 0 else item.slot - 1]
            tokens.append(_sequence(features))
            positions.append(_sequence(place) + time)
        pointer_tokens = 0
        if pointers:
            values, places = self._pointer_tokens(pointers, max_pointers)
            tokens.append(values.to(embedding.dtype))
            positions.append(places)
            pointer_tokens = values.shape[0]
        position = self.image_encoder.neck.position_encoding(embedding).to(embedding.dtype)
        fused = self.memory_attention(
            curr=_sequence(embedding),
            curr_pos=_sequence(position),
            memory=torch.cat(tokens),
            memory_pos=torch.cat(positions).to(embedding.dtype),
            num_obj_ptr_tokens=pointer_tokens,
        )
        return fused.permute(1, 2, 0).reshape(embedding.shape)

    def _pointer_tokens(self, pointers: Sequence[PointerItem], max_pointers: int) -> tuple[Tensor, Tensor]:
        """Pointers as memory tokens [P * C/M, B, M]: each is split into C/M tokens with the same position."""
        values = torch.stack([item.pointer for item in pointers])
        count, batch, width = values.shape
        distances = _on_device(tuple(item.distance for item in pointers), values.device)
        places = self.obj_ptr_tpos_proj(get_1d_sine_pe(distances / max(1, max_pointers - 1), dim=width))
        split = width // self.mem_dim
        values = values.reshape(count, batch, split, self.mem_dim).permute(0, 2, 1, 3).flatten(0, 1)
        places = places[:, None, :].expand(-1, batch, -1).repeat_interleave(split, dim=0)
        return values, places

    def encode_memory(self, embedding: Tensor, logits: Tensor, object_score: Tensor, prompted: bool) -> Tensor:
        """Spatial memory [B, M, h, w] of B slices and their masks (SAM2's `_encode_new_memory`).

        Args:
            embedding: [B, C, h, w], after the adapter, before `condition`.
            logits: [B, 1, S/4, S/4] mask logits.
            object_score: [B, 1].
            prompted: the mask answers a prompt: outside training it is binarized, as what the user saw.
        """
        mask = F.interpolate(logits.float(), size=(self.image_size,) * 2, mode="bilinear", align_corners=False)
        binarize = prompted and self.binarize_mask_from_pts_for_mem_enc and not self.training
        mask = (mask > 0).float() if binarize else mask.sigmoid()
        mask = mask * self.sigmoid_scale_for_mem_enc + self.sigmoid_bias_for_mem_enc
        memory = self.memory_encoder(embedding, mask.to(embedding.dtype), skip_mask_sigmoid=True)["vision_features"]
        absent = (object_score <= 0).to(memory.dtype)[..., None, None]
        return memory + absent * self.no_obj_embed_spatial[..., None, None].to(memory.dtype)

    # -- masks ---------------------------------------------------------------------------------------------------------

    def decode(
        self,
        embedding: Tensor,
        features: SliceFeatures,
        points: Tensor | None = None,
        labels: Tensor | None = None,
        mask_prompt: Tensor | None = None,
        multimask: bool | None = None,
    ) -> MaskDecoding:
        """Masks of B slices from their conditioned embedding and prompts (SAM2's `_forward_sam_heads`).

        Args:
            embedding: [B, C, h, w] from `condition`.
            features: of the same slices: the high-resolution maps and, for the fusion, the boundary maps.
            points: [B, P, 2] float32 (x, y) in network pixels; None for a slice without prompt.
            labels: [B, P] int32: 1 positive, 0 negative, 2 and 3 a box's corners, -1 padding.
            mask_prompt: [B, 1, S/4, S/4] logits of an earlier mask.
            multimask: ask for three candidates; None is SAM2's rule: with at most one point.
        """
        count = 0 if labels is None else labels.shape[1]
        if multimask is None:
            multimask = self.multimask_min_pt_num <= count <= self.multimask_max_pt_num
        prompt = self.embed_prompts(embedding.shape[0], points, labels, mask_prompt)
        return self.decode_embedded(embedding, features, prompt, multimask)

    def embed_prompts(
        self,
        batch: int,
        points: Tensor | None = None,
        labels: Tensor | None = None,
        mask_prompt: Tensor | None = None,
    ) -> PromptEmbedding:
        """What the prompt encoder makes of the prompts of `batch` slices; arguments as those of `decode`."""
        device = self.no_mem_embed.device
        if points is None or labels is None:
            points = torch.zeros(batch, 1, 2, device=device)
            labels = -torch.ones(batch, 1, dtype=torch.int32, device=device)
        # Click coordinates stay out of reduced precision (calibration.md): bf16 resolves 4 pixels at 512.
        with torch.autocast(device.type, enabled=False):
            sparse, dense = self.sam_prompt_encoder((points.float(), labels), boxes=None, masks=_float(mask_prompt))
            return PromptEmbedding(sparse, dense, self.sam_prompt_encoder.get_dense_pe())

    def decode_embedded(
        self, embedding: Tensor, features: SliceFeatures, prompt: PromptEmbedding, multimask: bool
    ) -> MaskDecoding:
        """`decode` from `embed_prompts`."""
        batch, device = embedding.shape[0], embedding.device
        s0 = features.high_res_s0
        if self.boundary_fusion is not None and features.boundary is not None:
            s0 = self.boundary_fusion(s0, features.boundary)
        candidates, ious, output_tokens, score = self.sam_mask_decoder(
            image_embeddings=embedding,
            image_pe=prompt.position.to(embedding.dtype),
            sparse_prompt_embeddings=prompt.sparse.to(embedding.dtype),
            dense_prompt_embeddings=prompt.dense.to(embedding.dtype),
            multimask_output=multimask,
            repeat_image=False,
            high_res_features=[s0, features.high_res_s1],
        )
        candidates = candidates.float()
        best = ious.argmax(dim=1)
        rows = torch.arange(batch, device=device)
        present = score > 0
        logits = torch.where(present[..., None, None], candidates[rows, best][:, None], NO_OBJ_SCORE)
        token = output_tokens[rows, best] if output_tokens.shape[1] > 1 else output_tokens[:, 0]
        pointer = self._gate_pointer(self.obj_ptr_proj(token), present)
        return MaskDecoding(logits, candidates, ious, ious[rows, best], pointer, score)

    def mask_as_output(self, embedding: Tensor, features: SliceFeatures, mask: Tensor) -> MaskDecoding:
        """A given mask as the answer, with a pointer from the decoder (SAM2's `_use_mask_as_output`).

        Args:
            embedding: [B, C, h, w], after the adapter, before `condition`.
            features: of the same slices.
            mask: [B, 1, S, S], 0 or 1 at network resolution.
        """
        mask = mask.float()
        # -10 and 10: sigmoid(-10) is 5e-5 (SAM2's values).
        logits = F.interpolate(
            mask * 20.0 - 10.0, scale_factor=0.25, mode="bilinear", align_corners=False, antialias=True
        )
        decoding = self.decode(embedding, features, mask_prompt=self.mask_downsample(mask), multimask=False)
        present = (mask.flatten(1) > 0).any(dim=1, keepdim=True)
        score = present.float() * 20.0 - 10.0
        ones = torch.ones(mask.shape[0], 1, device=mask.device)
        pointer = self._gate_pointer(decoding.pointer, present)
        return MaskDecoding(logits, logits, ones, ones[:, 0], pointer, score)

    def _gate_pointer(self, pointer: Tensor, present: Tensor) -> Tensor:
        """The learned no-object pointer where the object is absent (SAM2's `fixed_no_obj_ptr`)."""
        gate = present.to(pointer.dtype)
        return gate * pointer + (1 - gate) * self.no_obj_ptr.to(pointer.dtype)


@lru_cache(maxsize=1024)
def _on_device(values: tuple[int, ...], device: torch.device) -> Tensor:
    """Numbers as a float32 tensor, copied from the host once: no CUDA graph can hold the copy (`training.graphs`)."""
    with torch.inference_mode(False):
        return torch.tensor(values, device=device, dtype=torch.float32)


def _sequence(maps: Tensor) -> Tensor:
    """[B, C, h, w] to SAM2's [h*w, B, C]."""
    return maps.flatten(2).permute(2, 0, 1)


def _float(mask: Tensor | None) -> Tensor | None:
    return None if mask is None else mask.float()
