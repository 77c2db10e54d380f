"""The module's choices, stored in the scene and bound to the widgets of the .ui file by their SlicerParameterName."""
# ruff: noqa: N815
# No `from __future__ import annotations` here: the wrapper reads the types.

from typing import Annotated

from slicer.parameterNodeWrapper import Choice, parameterNodeWrapper

from .engine_settings import DEVICES, EngineSettings, model_names, settings_for

MODEL_NAMES = model_names()
DEVICE_NAMES = list(DEVICES)


@parameterNodeWrapper
class SAM2_3dMedParameterNode:  # noqa: N801 - named after the module
    """modelName: published name of the weights; device: where the engine computes."""

    modelName: Annotated[str, Choice(MODEL_NAMES)] = MODEL_NAMES[0]
    device: Annotated[str, Choice(DEVICE_NAMES)] = DEVICE_NAMES[0]


def settings_of(parameterNode) -> EngineSettings:  # noqa: N803
    """The engine's settings that the parameter node stands for."""
    return settings_for(parameterNode.modelName, parameterNode.device)
