"""Typed configurations of the network: SAM2.1's four sizes, our `nano`, and the switches of the paper's parts.

The values of `tiny`, `small`, `base_plus` and `large` are those of the YAML files that the package `sam2` ships
(`sam2/configs/sam2.1/*.yaml`); a test builds the same networks from those files and compares keys and shapes.
Nothing here imports torch, so that a checkpoint's configuration can be read and checked without it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from math import prod
from typing import Any


class ConfigError(ValueError):
    """A configuration that cannot be built; the message says which value is wrong."""


@dataclass(frozen=True)
class Parts:
    """Which of the paper's parts are built (method.md). All off is plain SAM2.

    Attributes:
        adapter: inter-slice adapter after the image encoder (ours: it gives SRPP a path to the segmentation).
        srpp: slice relative position prediction head, used in training only.
        bd: boundary detection branch.
        bd_fusion: the boundary features refine the mask decoder's upscaled features; needs `bd`.
    """

    adapter: bool = False
    srpp: bool = False
    bd: bool = False
    bd_fusion: bool = False

    def __post_init__(self) -> None:
        if self.bd_fusion and not self.bd:
            raise ConfigError("The part 'bd_fusion' needs the part 'bd': switch both on, or 'bd_fusion' off.")

    @classmethod
    def none(cls) -> Parts:
        return cls()

    @classmethod
    def all(cls) -> Parts:
        return cls(adapter=True, srpp=True, bd=True, bd_fusion=True)


@dataclass(frozen=True)
class TrunkConfig:
    """Hiera image trunk (`sam2.modeling.backbones.hieradet.Hiera`)."""

    embed_dim: int
    num_heads: int
    stages: tuple[int, ...]
    global_att_blocks: tuple[int, ...]
    window_pos_embed_bkg_spatial_size: tuple[int, int]
    window_spec: tuple[int, ...] = (8, 4, 14, 7)

    def __post_init__(self) -> None:
        if isinstance(self.num_heads, int) and self.num_heads > 0 and self.embed_dim % self.num_heads:
            raise ConfigError(f"embed_dim {self.embed_dim} must be a multiple of num_heads {self.num_heads}.")

    @property
    def channel_list(self) -> list[int]:
        """Channels of the four stages, deepest first, as the neck wants them."""
        return [self.embed_dim * 2**stage for stage in reversed(range(len(self.stages)))]


@dataclass(frozen=True)
class MemoryConfig:
    """Memory attention and memory encoder."""

    attention_layers: int = 4
    attention_feedforward: int = 2048
    dropout: float = 0.1
    channels: int = 64
    num_maskmem: int = 7
    fuser_layers: int = 2
    fuser_layer_scale: float = 1e-6


@dataclass(frozen=True)
class DecoderConfig:
    """Two-way transformer of the mask decoder."""

    depth: int = 2
    mlp_dim: int = 2048
    num_heads: int = 8
    iou_head_hidden_dim: int = 256


@dataclass(frozen=True)
class PartsConfig:
    """Sizes of the paper's parts where the paper reports none (method.md, 'ours')."""

    adapter_channels: int = 64
    adapter_heads: int = 4
    adapter_radius: int = 1
    srpp_pool: int = 4
    srpp_channels: int = 256
    srpp_layers: int = 2
    srpp_heads: int = 8
    srpp_feedforward: int = 1024
    bd_channels: int = 64
    bd_heads: int = 4


@dataclass(frozen=True)
class NetworkConfig:
    """Everything needed to build a network; stored in every checkpoint.

    Attributes:
        name: size name, e.g. `nano`.
        image_size: side of the square input S in pixels; a multiple of 32.
        hidden_dim: channels C of the stride-16 embedding.
    """

    name: str
    image_size: int
    hidden_dim: int
    trunk: TrunkConfig
    memory: MemoryConfig = field(default_factory=MemoryConfig)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    parts: Parts = field(default_factory=Parts)
    part_sizes: PartsConfig = field(default_factory=PartsConfig)

    def __post_init__(self) -> None:
        if self.image_size < 64 or self.image_size % 32:
            raise ConfigError(f"image_size must be a multiple of 32 and at least 64, not {self.image_size}.")
        heads = self.decoder.num_heads
        if heads == 0 or self.hidden_dim % (4 * heads):
            raise ConfigError(f"hidden_dim {self.hidden_dim} must be a multiple of 4 x {heads} heads.")

    @property
    def embedding_size(self) -> int:
        """Side of the stride-16 embedding."""
        return self.image_size // 16

    @property
    def least_weights(self) -> int:
        """A number of weights that the network exceeds, by its largest matrices: what is too much is known unbuilt."""
        trunk, memory, decoder, width = self.trunk, self.memory, self.decoder, self.hidden_dim
        places = prod(trunk.window_pos_embed_bkg_spatial_size) + trunk.window_spec[0] ** 2
        blocks = sum(count * 11 * (trunk.embed_dim * 2**stage) ** 2 for stage, count in enumerate(trunk.stages))
        layers = memory.attention_layers * width * (6 * width + 2 * memory.attention_feedforward)
        layers += decoder.depth * width * (4 * width + 2 * decoder.mlp_dim)
        if self.parts.srpp:
            sizes = self.part_sizes
            layers += sizes.srpp_layers * sizes.srpp_channels * (4 * sizes.srpp_channels + 2 * sizes.srpp_feedforward)
        return trunk.embed_dim * places + blocks + layers

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionary for JSON; `from_dict` reads it back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> NetworkConfig:
        """Read what `to_dict` wrote. Raises `ConfigError` on unknown or missing entries and odd values."""
        nested = {
            "trunk": TrunkConfig,
            "memory": MemoryConfig,
            "decoder": DecoderConfig,
            "parts": Parts,
            "part_sizes": PartsConfig,
        }
        _check_names(cls, values)
        try:
            built = {key: _build(nested[key], value) if key in nested else value for key, value in values.items()}
            config = cls(**built)
        except TypeError as error:
            raise ConfigError(f"The network configuration is incomplete or of another version: {error}.") from error
        _check_values(config)
        return config


# What a file may ask for: far above every network there is. Blocks, layers and heads are counted; the rest are
# channels, pixels and window sides. Together they may still be too much: `least_weights`.
_COUNTED = ("stages", "attention_layers", "fuser_layers", "srpp_layers", "depth", "num_maskmem", "num_heads")
_MOST_COUNTED, _MOST = 100, 8192


def _check_values(config: Any) -> None:
    """ConfigError unless every number is one of its kind, and no more than there can be."""
    for entry in fields(config):
        value = getattr(config, entry.name)
        if is_dataclass(value):
            _check_values(value)
            continue
        kind = str(entry.type)  # the annotation as it is written above
        if kind.startswith("tuple"):
            sides = kind.count("int") if "..." not in kind else len(value) if isinstance(value, tuple) else 0
            fits = isinstance(value, tuple) and len(value) == sides > 0
            fits = fits and all(_is_count(number, entry.name) for number in value)
        elif kind == "int":
            fits = _is_count(value, entry.name)
        elif kind == "float":
            fits = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1
        else:
            fits = type(value).__name__ == kind
        if not fits:
            raise ConfigError(f"The entry '{entry.name}' of {type(config).__name__} cannot be {value!r}.")


def _is_count(value: Any, name: str) -> bool:
    least = 0 if name == "global_att_blocks" else 1  # indices, from 0
    most = _MOST_COUNTED if name in _COUNTED else _MOST
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _check_names(kind: type, values: Any) -> None:
    if not isinstance(values, dict):
        raise ConfigError(f"{kind.__name__} must be a table of names and values, not {type(values).__name__}.")
    unknown = sorted(set(values) - {entry.name for entry in fields(kind)})
    if unknown:
        raise ConfigError(f"Unknown entries in {kind.__name__}: {', '.join(unknown)}; is the file of a newer version?")


def _build(kind: type, values: Any) -> Any:
    _check_names(kind, values)
    return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})


_SIZES: dict[str, NetworkConfig] = {
    # Ours: the structure of tiny with half the width, two trunk blocks fewer and three memory layers. Windows of 8 and
    # 16 divide the 128/64/32/16 grids of 512 px, where SAM2's 14 and 7 would pad 32 to 42 and 16 to 21.
    "nano": NetworkConfig(
        name="nano",
        image_size=512,
        hidden_dim=192,
        trunk=TrunkConfig(48, 1, (1, 2, 5, 2), (5, 7), (7, 7), (8, 4, 16, 8)),
        memory=MemoryConfig(attention_layers=3, attention_feedforward=768, dropout=0.0, fuser_layer_scale=1e-2),
        decoder=DecoderConfig(mlp_dim=768, iou_head_hidden_dim=192),
        part_sizes=PartsConfig(srpp_pool=2, srpp_channels=128, srpp_feedforward=512),
    ),
    "tiny": NetworkConfig("tiny", 1024, 256, TrunkConfig(96, 1, (1, 2, 7, 2), (5, 7, 9), (7, 7))),
    "small": NetworkConfig("small", 1024, 256, TrunkConfig(96, 1, (1, 2, 11, 2), (7, 10, 13), (7, 7))),
    "base_plus": NetworkConfig("base_plus", 1024, 256, TrunkConfig(112, 2, (2, 3, 16, 3), (12, 16, 20), (14, 14))),
    "large": NetworkConfig("large", 1024, 256, TrunkConfig(144, 2, (2, 6, 36, 4), (23, 33, 43), (7, 7), (8, 4, 16, 8))),
}

SIZE_NAMES: tuple[str, ...] = tuple(_SIZES)


def network_config(name: str, image_size: int | None = None, parts: Parts | None = None) -> NetworkConfig:
    """The configuration of a named size.

    Args:
        name: `nano`, `tiny`, `small`, `base_plus` or `large`.
        image_size: input side in pixels; default 512 for nano, 1024 for the others. No weight's shape depends on it.
        parts: the paper's parts; default none, which is plain SAM2.

    Raises:
        ConfigError: unknown name or unusable image size.
    """
    if name not in _SIZES:
        raise ConfigError(f"Unknown network size '{name}'; choose one of {', '.join(SIZE_NAMES)}.")
    config = _SIZES[name]
    return replace(config, image_size=image_size or config.image_size, parts=parts or Parts.none())
