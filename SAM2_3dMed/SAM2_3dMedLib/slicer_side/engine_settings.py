"""Which model and which device the engine uses; shared by the module and by the effect."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from SAM2_3dMedLib.weights import manifest

# What the user reads in the list of devices, and what the engine is told.
DEVICES = {"Automatic": "auto", "CUDA": "cuda", "MPS": "mps", "CPU": "cpu"}
MODULE_NAME = "SAM2_3dMed"


def model_names() -> list[str]:
    """Names of all published models, the default first. Only a small file is read."""
    known = manifest.read_manifest()
    return [known.default, *(entry.name for entry in known.entries if entry.name != known.default)]


@dataclass(frozen=True)
class EngineSettings:
    """model: name in the manifest of weights ('': the default); device: one of the values of `DEVICES`."""

    model: str = ""
    device: str = "auto"

    @property
    def weights(self) -> Path:
        """The file of the weights. WeightsError (one sentence) when it is not on this computer."""
        return manifest.resolve_weights(self.model or None)[0]


def settings_for(model: str, device: str) -> EngineSettings:
    """Settings for the names that the user reads; unknown ones (a scene from another version) mean the default."""
    known = model_names()
    return EngineSettings(model if model in known[1:] else "", DEVICES.get(device, "auto"))


def forget_unknown_choices(node) -> None:
    """A scene of another version may name a model or a device in the module's node that is not offered here: then the
    default holds. The combo boxes refuse unknown names.
    """
    for name, known in (("modelName", model_names()), ("device", list(DEVICES))):
        if node.GetParameter(name) and node.GetParameter(name) not in known:
            node.UnsetParameter(name)


def settings_in_scene(scene) -> EngineSettings | None:
    """What the module's parameter node says; None when the module was not opened in this scene."""
    for index in range(scene.GetNumberOfNodesByClass("vtkMRMLScriptedModuleNode")):
        node = scene.GetNthNodeByClass(index, "vtkMRMLScriptedModuleNode")
        if node.GetModuleName() == MODULE_NAME and node.GetParameter("modelName"):
            return settings_for(node.GetParameter("modelName"), node.GetParameter("device"))
    return None
