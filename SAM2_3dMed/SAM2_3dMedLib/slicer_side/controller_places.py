"""The controller's part that knows where prompts belong: in voxels of which volume, and on what the segment holds."""

from __future__ import annotations

import functools

from .controller_state import ObjectKey, PromptRefused
from .translation import _


class PlacesMixin:
    """Prompts are stored in voxels of the volume they were given on; that another one is chosen loses none."""

    @property
    def shown_prompts(self) -> tuple:
        """The stored prompts that lie in the source volume: none when they are in voxels of another grid."""
        return () if self.elsewhere else self.prompts

    @property
    def elsewhere(self) -> str:
        """Why the current segment's prompts are not the source volume's, and what to do; empty when they are."""
        if self.source is None or self.key is None or self._in_source(self.key):
            return ""
        node = self.scene.GetNodeByID(self._place(self.key).node_id)
        if node is None or node.GetID() == self.source.node_id:
            return _(
                "The prompts of this segment were given on other voxels than these: "
                "delete them all to begin on this volume, or select another segment."
            )
        sentence = _(
            'The prompts of this segment belong to the volume "{name}", which has another grid: '
            "select it as source volume, or delete them all to begin on this one."
        )
        return sentence.format(name=node.GetName())

    def _refuse_elsewhere(self) -> None:
        if self.elsewhere:
            raise PromptRefused(self.elsewhere)

    def _refuse_unwritable(self, prompt) -> None:
        """The answer would leave no voxel: the segmentation's grid ends before this place."""
        from .segment_grid import grid_of

        if not grid_of(self.segmentation_node, self.source).meets(box_of(prompt)):
            raise PromptRefused(
                _(
                    "The segmentation ends before this place: enlarge it with the button Specify geometry "
                    "beside the source volume, or begin a new segmentation."
                )
            )

    def _place(self, key: ObjectKey):
        """The `VolumePlace` in whose voxels a segment's prompts are; None when there are none or it is not known."""
        segmentation = self.scene.GetNodeByID(key.segmentation_id)
        return None if segmentation is None else self.store.place(segmentation, key.segment_id)

    def _source_place(self):
        from .volume_place import VolumePlace

        return None if self.source is None else VolumePlace.of_source(self.source)

    def _in_source(self, key: ObjectKey) -> bool:
        """Whether a segment's prompts are in voxels of the source volume."""
        place = self._place(key)
        return place is None or place.has_voxels_of(self.source)

    def _standing(self, key: ObjectKey, prompt, before: tuple) -> dict:
        """What the user sees where a correction is given, by (axis, slice index): on its slice, and on the slice of the
        segment's own axis that a click is handed to. The worker does not know what another session has segmented.
        """
        from SAM2_3dMedLib.propagation.prompts import nearest_index

        places = {(int(prompt.axis), int(prompt.slice_index))} if before else set()
        if before and hasattr(prompt, "position"):
            own = int(before[0].axis)
            places.add((own, nearest_index(prompt.position[own])))
        read = functools.partial(self._writer.slice_mask, self.segmentation_node, key.segment_id, self.source)
        masks = {place: read(*place) for place in sorted(places)}
        return {place: mask for place, mask in masks.items() if mask.any()}


def box_of(prompt):
    """The voxels that a prompt names, int [2, 3]: lowest and highest (i, j, k)."""
    import numpy as np

    from SAM2_3dMedLib.propagation.packed_mask import bounding_box
    from SAM2_3dMedLib.propagation.prompts import nearest_index

    if hasattr(prompt, "position"):
        ends = [prompt.position, prompt.position]
    elif hasattr(prompt, "corner_a"):
        ends = [prompt.corner_a, prompt.corner_b]
    else:
        ends = np.full((2, 3), prompt.slice_index)
        column_axis, row_axis = (axis for axis in range(3) if axis != int(prompt.axis))
        box = bounding_box(prompt.mask)
        if box is not None:
            ends[:, row_axis], ends[:, column_axis] = (box[0], box[1] - 1), (box[2], box[3] - 1)
    voxels = np.array([[nearest_index(value) for value in end] for end in ends])
    return np.stack([voxels.min(axis=0), voxels.max(axis=0)])
