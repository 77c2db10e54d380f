"""With which settings of a session a model is evaluated."""

from __future__ import annotations

from dataclasses import dataclass, field
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
        view: how near small objects are looked at.
    """

    window: str = "auto"
    policy: MemoryPolicy = field(default_factory=BracketedMemoryPolicy)
    view: FieldChoice = FieldChoice.NEAR

    def open(self, predictor: SlicePredictor, volume: Volume) -> VolumeSession:
        """A fresh session. Raises VolumeError."""
        window = window_from(self.window, volume)
        return VolumeSession(predictor, volume, window=window, policy=self.policy, zoom=self.view.zoom())


DEFAULT_SETTINGS = SessionSettings()
