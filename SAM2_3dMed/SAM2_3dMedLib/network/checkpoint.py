"""One checkpoint format (safetensors with a described header), and reading Meta's and MedSAM2's `.pt` files.

Never a pickle: `.pt` files go through `torch.load(weights_only=True)`.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import warnings
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import torch

from .build import build_network
from .config import SIZE_NAMES, ConfigError, NetworkConfig, Parts, network_config
from .model import SAM23dMed
from .safetensors_reader import SafetensorsError, read_header, read_tensors

FORMAT = "sam2-3dmed"
FORMAT_VERSION = 1
_CANNOT_BE_BUILT = (
    "The weight file {path} describes a network that cannot be built ({reason}); it is damaged or of another version: "
    "download it again, or update this software."
)


class CheckpointError(RuntimeError):
    """A weight file that cannot be used; the message is one sentence that says what to do next."""


@dataclass(frozen=True)
class CheckpointMetadata:
    """What a weight file says of itself.

    Attributes:
        name: model name, e.g. `sam2-3dmed-nano`.
        version: version of the weights.
        training_data: data sets with their licences, one string each.
        licence: SPDX name of the weights' licence.
        commit: git commit of the training code.
        created: ISO date.
        notes: anything a user should know.
    """

    name: str
    version: str = "0"
    training_data: tuple[str, ...] = field(default_factory=tuple)
    licence: str = "Apache-2.0"
    commit: str = ""
    created: str = ""
    notes: str = ""


def file_sha256(path: Path | str) -> str:
    """SHA-256 of a file as a hexadecimal string."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else _digest(stream)


def _digest(stream) -> str:
    """`hashlib.file_digest` for Python 3.10."""
    digest = hashlib.sha256()
    while block := stream.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def save_checkpoint(path: Path | str, network: SAM23dMed, metadata: CheckpointMetadata, half: bool = True) -> None:
    """Write a network, without its training-only SRPP head, as safetensors; the file appears whole or not at all.

    Args:
        path: ends in `.safetensors`.
        half: store float16 instead of float32.

    Raises:
        CheckpointError: a weight is not finite or does not fit float16.
        OSError: the file cannot be written.
    """
    from safetensors.torch import save_file  # only who trains writes weights; Slicer does without the package

    path = Path(path)
    config = replace(network.config, parts=replace(network.config.parts, srpp=False))
    tensors = {}
    for key, value in network.state_dict().items():
        if key.startswith("slice_position."):
            continue
        value = value.detach().to("cpu")
        stored = value.half() if half and value.is_floating_point() else value
        if stored.is_floating_point() and not torch.isfinite(stored).all():
            raise CheckpointError(f"The weight '{key}' is not finite in the stored precision; train on before saving.")
        tensors[key] = stored.contiguous()
    header = {
        "format": FORMAT,
        "format_version": str(FORMAT_VERSION),
        "config": json.dumps(config.to_dict()),
        "metadata": json.dumps(asdict(metadata)),
    }
    handle, temporary = tempfile.mkstemp(suffix=".part", dir=path.parent)
    os.close(handle)
    try:
        save_file(tensors, temporary, metadata=header)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def load_checkpoint(path: Path | str, expected_sha256: str | None = None) -> tuple[SAM23dMed, CheckpointMetadata]:
    """A network in float32 on the CPU from our `.safetensors` or from a SAM2.1 / MedSAM2 `.pt` file.

    Args:
        expected_sha256: refuse the file when its hash differs.

    Raises:
        CheckpointError: missing, truncated, altered, or not a network that this version builds.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"The weight file {path} does not exist; check the path or download the model again.")
    if expected_sha256 is not None and file_sha256(path) != expected_sha256.lower():
        raise CheckpointError(
            f"The weight file {path} is damaged or has been changed (its SHA-256 is not the published one); "
            "delete it and download the model again."
        )
    if path.suffix in (".pt", ".pth"):
        return _load_sam2(path)
    config, metadata, tensors = _read_safetensors(path)
    reason = "it has more weights than the file"
    if config.least_weights > sum(value.numel() for value in tensors.values()):
        raise CheckpointError(_CANNOT_BE_BUILT.format(path=path, reason=reason))
    try:
        network = build_network(config)
    except Exception as error:  # sam2's classes and torch raise anything: AssertionError, ZeroDivisionError, ...
        raise CheckpointError(_CANNOT_BE_BUILT.format(path=path, reason=type(error).__name__)) from error
    _fill(network, tensors, path)
    return network, metadata


def read_metadata(path: Path | str) -> tuple[NetworkConfig, CheckpointMetadata]:
    """Configuration and description of one of our files without loading its weights."""
    config, metadata, _ = _read_safetensors(Path(path), with_tensors=False)
    return config, metadata


def _read_safetensors(
    path: Path, with_tensors: bool = True
) -> tuple[NetworkConfig, CheckpointMetadata, dict[str, torch.Tensor]]:
    try:
        header, tensors = read_tensors(path) if with_tensors else (read_header(path)[0], {})
    except (SafetensorsError, OSError) as error:
        raise CheckpointError(
            f"The weight file {path} is truncated or is not a safetensors file; download the model again."
        ) from error
    if header.get("format") != FORMAT:
        raise CheckpointError(f"The weight file {path} holds no {FORMAT} network; choose a file of this project.")
    if header.get("format_version") != str(FORMAT_VERSION):
        raise CheckpointError(f"The weight file {path} was written by another version of this software; update it.")
    try:
        config = NetworkConfig.from_dict(json.loads(header["config"]))
        described = json.loads(header["metadata"])
        described["training_data"] = tuple(described.get("training_data", ()))
        return config, CheckpointMetadata(**described), tensors
    except (KeyError, TypeError, AttributeError, RecursionError, json.JSONDecodeError, ConfigError) as error:
        raise CheckpointError(
            f"The description inside the weight file {path} cannot be read ({str(error).rstrip('.')}); it is damaged "
            "or of another version: download it again, or update this software."
        ) from error


def _fill(network: SAM23dMed, tensors: dict[str, torch.Tensor], path: Path) -> None:
    expected = network.state_dict()
    missing = sorted(set(expected) - set(tensors))
    unknown = sorted(set(tensors) - set(expected))
    wrong = sorted(key for key in set(expected) & set(tensors) if expected[key].shape != tensors[key].shape)
    if missing or unknown or wrong:
        example = (missing + unknown + wrong)[0]
        raise CheckpointError(
            f"The weights in {path} are of another configuration than '{network.config.name}' "
            f"({len(missing)} missing, {len(unknown)} unknown, {len(wrong)} of another shape, for example "
            f"'{example}'); choose the weight file that belongs to this model."
        )
    if not all(torch.isfinite(value).all() for value in tensors.values() if value.is_floating_point()):
        raise CheckpointError(f"The weights in {path} are not all finite numbers; download the file again.")
    network.load_state_dict({key: value.float() for key, value in tensors.items()})


def _load_sam2(path: Path) -> tuple[SAM23dMed, CheckpointMetadata]:
    network = build_pretrained(path)
    metadata = CheckpointMetadata(
        name=f"sam2.1-{network.config.name}",
        licence="",
        notes="Read from a checkpoint in SAM2's layout; see its licence.",
    )
    return network, metadata


def build_pretrained(path: Path | str, image_size: int | None = None, parts: Parts | None = None) -> SAM23dMed:
    """A network from a `.pt` file in SAM2's key layout (Meta's SAM2.1, MedSAM2), the size found from its shapes.

    Args:
        image_size: 512 or 1024; default the size's own (MedSAM2 was trained at 512 px: pass it).
        parts: the paper's parts to add at their zero initialization.

    Raises:
        CheckpointError: not such a file.
    """
    path = Path(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what torch remarks on foreign pickles is told below
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except (
        Exception
    ) as error:  # torch raises UnpicklingError, RuntimeError, EOFError or KeyError, by the kind of damage
        raise CheckpointError(
            f"The weight file {path} is truncated, is no PyTorch checkpoint, or holds code, which is never run; "
            "download it again from its source."
        ) from error
    tensors = loaded.get("model") if isinstance(loaded, dict) else None
    if not isinstance(tensors, dict) or not all(isinstance(value, torch.Tensor) for value in tensors.values()):
        raise CheckpointError(f"The weight file {path} has no table 'model' of weights, so it is not in SAM2's layout.")
    network = build_network(network_config(_size_of(tensors, path), image_size, Parts.none()))
    _fill(network, tensors, path)
    if parts is None or parts == Parts.none():
        return network
    extended = build_network(network_config(network.config.name, image_size, parts))
    extended.load_state_dict(network.state_dict(), strict=False)
    return extended


def _size_of(tensors: dict[str, torch.Tensor], path: Path) -> str:
    """The SAM2.1 size whose trunk has this width and number of blocks."""
    embed = tensors.get("image_encoder.trunk.pos_embed")
    blocks = {key.split(".")[3] for key in tensors if key.startswith("image_encoder.trunk.blocks.")}
    for name in SIZE_NAMES:
        trunk = network_config(name).trunk
        if embed is not None and embed.shape[1] == trunk.embed_dim and len(blocks) == sum(trunk.stages):
            return name
    raise CheckpointError(
        f"The weights in {path} are none of SAM2.1's sizes (tiny, small, base_plus, large); choose one of Meta's files."
    )
