"""Steps of our session that several measurements share."""

from __future__ import annotations

from ..propagation.policies import MemoryPolicy
from ..propagation.predictor import SlicePredictor
from ..propagation.session import VolumeSession
from ..propagation.stopping import StopRule
from ..volume.array_volume import ArrayVolume


def session_to_both_ends(
    predictor: SlicePredictor, volume: ArrayVolume, policy: MemoryPolicy | None = None
) -> VolumeSession:
    """A fresh session that follows objects on whole slices to the ends of the volume, as the reference does."""
    return VolumeSession(predictor, volume, policy=policy, stop_rule=StopRule.never(), zoom=None)


def follow(session: VolumeSession, object_id: str, slice_range: tuple[int, int] | None = None) -> None:
    """Propagate an object to the end, taking every update."""
    for _ in session.propagate(object_id, slice_range):
        pass
