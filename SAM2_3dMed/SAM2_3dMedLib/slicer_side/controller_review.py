"""The controller's part about review: confidence along the slices and which slices are checked."""

from __future__ import annotations

from .controller_edits import EditWatch
from .controller_state import Change, ObjectKey
from .review import ReviewState, SliceReview
from .slice_sums import SliceSums


class ReviewMixin:
    """Confidence is kept for each segment as long as the scene is open; the checked slices are stored in the scene."""

    def _init_review(self) -> None:
        self._reviews: dict[ObjectKey, ReviewState] = {}
        self._edits = EditWatch(self)

    @property
    def review(self) -> ReviewState:
        """Confidence along the slices of the current segment."""
        if self.key is None or self.segmentation_node is None or self.elsewhere:
            return ReviewState()
        state = self._review_of(self.key)
        state.checked = set(self.store.checked_slices(self.segmentation_node, self.key.segment_id))
        prompts = self.stored_prompts(self.key)
        if prompts and state.axis is None:
            state.axis = int(prompts[0].axis)
        state.prompted = {int(p.slice_index) for p in prompts if int(p.axis) == state.axis}
        if self.source is not None and state.axis is not None:
            state.slice_count = int(self.source.array.shape[2 - state.axis])
        return state

    def set_checked(self, index: int, checked: bool) -> None:
        """Mark a slice of the current segment as looked at, or take the mark back."""
        if self.key is not None:
            self._mark(self.key, {int(index)}, checked)

    def slice_position(self, index: int):
        """World position [3] (mm, RAS) of the center of a slice along the segment's axis; None before there is one."""
        review = self.review
        if self.source is None or review.axis is None:
            return None
        return self.source.slice_center_world(review.axis, index)

    def review_axis(self, key: ObjectKey) -> int | None:
        """The axis that a segment is reviewed along: that of its first prompt."""
        axis = self._review_of(key).axis
        prompts = self.stored_prompts(key)
        return int(prompts[0].axis) if axis is None and prompts else axis

    def slice_checksums(self, key: ObjectKey, axis: int, checksum):
        """(index, checksum of the mask) of each slice of a segment, one after the other; ends early when it is gone."""
        source, writer = self.source, self._writer
        count = source.array.shape[2 - axis] if source is not None else 0
        for index in range(count):
            if not self._still_there(key, source, writer):
                return
            segmentation = self.scene.GetNodeByID(key.segmentation_id)
            yield index, checksum(writer.slice_mask(segmentation, key.segment_id, source, axis, index))

    def is_ours(self, key: ObjectKey, axis: int, index: int, checksum: int) -> bool:
        """Whether a slice of a segment, with this checksum, holds the model's work only."""
        segmentation = self.scene.GetNodeByID(key.segmentation_id)
        return self._writer.is_ours(segmentation, key.segment_id, self.source, axis, index, checksum)

    def store_slice_sums(self, key: ObjectKey, axis: int, sums: dict[int, int]) -> None:
        """Keep with the scene how the slices that are the model's work stand, so that another session may correct
        them.
        """
        segmentation = self.scene.GetNodeByID(key.segmentation_id)
        if segmentation is not None:
            self.store.set_slice_sums(segmentation, key.segment_id, SliceSums(axis, sums))

    def mark_edited(self, key: ObjectKey, indices: set[int]) -> None:
        """The user has edited these slices by hand: they are checked."""
        self._mark(key, indices, True)

    def _mark(self, key: ObjectKey, indices: set[int], checked: bool) -> None:
        segmentation = self.scene.GetNodeByID(key.segmentation_id)
        if segmentation is None or not indices:
            return
        known = set(self.store.checked_slices(segmentation, key.segment_id))
        self.store.set_checked(segmentation, key.segment_id, known | indices if checked else known - indices)
        self.listeners.tell(Change.REVIEW)

    def _review_of(self, key: ObjectKey) -> ReviewState:
        return self._reviews.setdefault(key, ReviewState())

    def _set_confidence(self, key: ObjectKey, axis: int, slices: dict[int, SliceReview], replace: bool) -> None:
        state = self._review_of(key)
        if state.axis != axis or replace:
            state.slices = {}
        state.axis = axis
        state.slices.update(slices)
        if key == self.key:
            self.listeners.tell(Change.REVIEW)

    def _forget_review(self, key: ObjectKey) -> None:
        self._reviews.pop(key, None)
        self._forget_news(lambda other: other == key)

    def _forget_reviews(self, segmentation_id: str | None) -> None:
        for key in tuple(self._reviews):
            if segmentation_id is None or key.segmentation_id == segmentation_id:
                del self._reviews[key]
        self._forget_news(lambda key: segmentation_id is None or key.segmentation_id == segmentation_id)
