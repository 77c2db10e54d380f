"""Whether a segment is there and can be written."""

from __future__ import annotations

from typing import Any

import slicer

from .segment_grid import WriteRefused
from .translation import _


class TargetGone(RuntimeError):  # noqa: N818 - named after what happened, as the interface page has it
    """The segmentation or the segment was deleted: one sentence."""


def segment_of(segmentation_node: Any, segment_id: str) -> Any:
    """The vtkSegment; TargetGone when it, or its segmentation, is not in the scene any more."""
    if segmentation_node is None or segmentation_node.GetScene() is None:
        raise TargetGone(_("The segmentation was deleted: select another one."))
    segment = segmentation_node.GetSegmentation().GetSegment(segment_id)
    if segment is None:
        raise TargetGone(_("The segment was deleted: select or add another one."))
    return segment


def check_representation(segmentation_node: Any) -> None:
    """WriteRefused when the segments are not stored as label maps, which alone can be written."""
    segmentation = segmentation_node.GetSegmentation()
    name = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
    if segmentation.GetNumberOfSegments() and segmentation.GetSourceRepresentationName() != name:
        sentence = _(
            '"{name}" is stored as {kind}: make "Binary labelmap" its source in the module Segmentations, '
            "under Representations."
        )
        kind = segmentation.GetSourceRepresentationName().lower()
        raise WriteRefused(sentence.format(name=segmentation_node.GetName(), kind=kind))
