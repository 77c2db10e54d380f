"""Builds a network from its configuration with the classes of `sam2.modeling`; no hydra configuration at run time."""

from __future__ import annotations

from sam2.modeling.backbones.hieradet import Hiera
from sam2.modeling.backbones.image_encoder import FpnNeck, ImageEncoder
from sam2.modeling.memory_attention import MemoryAttention, MemoryAttentionLayer
from sam2.modeling.memory_encoder import CXBlock, Fuser, MaskDownSampler, MemoryEncoder
from sam2.modeling.position_encoding import PositionEmbeddingSine
from sam2.modeling.sam.transformer import RoPEAttention

from .config import NetworkConfig
from .model import SAM23dMed


def build_network(config: NetworkConfig) -> SAM23dMed:
    """A network with random weights, on the CPU, in float32 and evaluation mode."""
    network = SAM23dMed(config, _image_encoder(config), _memory_attention(config), _memory_encoder(config))
    return network.eval()


def _position_encoding(channels: int) -> PositionEmbeddingSine:
    # No warm-up: SAM2's fills its cache on the CUDA device at construction, for sizes that may never be used.
    return PositionEmbeddingSine(channels, normalize=True, scale=None, temperature=10000, warmup_cache=False)


def _image_encoder(config: NetworkConfig) -> ImageEncoder:
    trunk = config.trunk
    return ImageEncoder(
        trunk=Hiera(
            embed_dim=trunk.embed_dim,
            num_heads=trunk.num_heads,
            stages=trunk.stages,
            global_att_blocks=trunk.global_att_blocks,
            window_pos_embed_bkg_spatial_size=trunk.window_pos_embed_bkg_spatial_size,
            window_spec=trunk.window_spec,
        ),
        neck=FpnNeck(
            position_encoding=_position_encoding(config.hidden_dim),
            d_model=config.hidden_dim,
            backbone_channel_list=trunk.channel_list,
            fpn_top_down_levels=[2, 3],
            fpn_interp_model="nearest",
        ),
        scalp=1,
    )


def _memory_attention(config: NetworkConfig) -> MemoryAttention:
    memory, width = config.memory, config.hidden_dim
    grid = (config.embedding_size,) * 2

    def rope(**extra: object) -> RoPEAttention:
        return RoPEAttention(
            embedding_dim=width,
            num_heads=1,
            downsample_rate=1,
            dropout=memory.dropout,
            rope_theta=10000.0,
            feat_sizes=grid,
            **extra,
        )

    layer = MemoryAttentionLayer(
        activation="relu",
        dim_feedforward=memory.attention_feedforward,
        dropout=memory.dropout,
        pos_enc_at_attn=False,
        self_attention=rope(),
        d_model=width,
        pos_enc_at_cross_attn_keys=True,
        pos_enc_at_cross_attn_queries=False,
        cross_attention=rope(rope_k_repeat=True, kv_in_dim=memory.channels),
    )
    return MemoryAttention(d_model=width, pos_enc_at_input=True, layer=layer, num_layers=memory.attention_layers)


def _memory_encoder(config: NetworkConfig) -> MemoryEncoder:
    memory, width = config.memory, config.hidden_dim
    block = CXBlock(
        dim=width, kernel_size=7, padding=3, layer_scale_init_value=memory.fuser_layer_scale, use_dwconv=True
    )
    return MemoryEncoder(
        out_dim=memory.channels,
        in_dim=width,
        position_encoding=_position_encoding(memory.channels),
        mask_downsampler=MaskDownSampler(embed_dim=width, kernel_size=3, stride=2, padding=1),
        fuser=Fuser(block, num_layers=memory.fuser_layers),
    )
