"""With which settings of a session a model is evaluated."""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import TYPE_CHECKING

from ...propagation.policies import BracketedMemoryPolicy, MemoryPolicy
from ...propagation.predictor import SlicePredictor
from ...propagation.session import VolumeSession
from ...propagation.zoom import FieldChoice
from ...volume.intensity import window_from

if TYPE_CHECKING:
    from ...volume.images import Volume


@dataclass(frozen=True)
class SessionSettings:
    """Defaults are those that a user works with.

    Attributes:
        window: as `volume.intensity.window_from`.
        policy: which memories a slice is decoded with.
        field: how near small objects are looked at.
    """

    window: str = "auto"
    policy: MemoryPolicy = dataclass_field(default_factory=BracketedMemoryPolicy)
    field: FieldChoice = FieldChoice.NEAR

    def open(self, predictor: SlicePredictor, volume: Volume) -> VolumeSession:
        """A fresh session. Raises VolumeError."""
        window = window_from(self.window, volume)
        return VolumeSession(predictor, volume, window=window, policy=self.policy, zoom=self.field.zoom())


DEFAULT_SETTINGS = SessionSettings()
