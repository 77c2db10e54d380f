"""Which model and which device the engine uses; shared by the module and by the effect."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .translation import _

DEVICES = ("auto", "cuda", "mps", "cpu")
DEFAULT_MODEL = "nano"


@dataclass(frozen=True)
class EngineSettings:
    """model: name in the manifest of weights; device: one of `DEVICES`."""

    model: str = DEFAULT_MODEL
    device: str = "auto"


def resolve_weights(model: str) -> Path:
    """The file of the model's weights on this computer. FileNotFoundError with a sentence when it is not there."""
    from SAM2_3dMedLib.weights import manifest

    if model == DEFAULT_MODEL:
        path = Path(manifest.default_weights())
    else:
        from .model_files import find_model_file

        path = find_model_file(model)
    if not path.is_file():
        sentence = _(
            "The weights of '{name}' are not on this computer. Choose the model that comes with the extension."
        )
        raise FileNotFoundError(sentence.format(name=model))
    return path
