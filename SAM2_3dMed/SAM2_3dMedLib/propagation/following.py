"""A propagation as the session's user sees it: the object's state grows, and each changed slice is handed out."""

from __future__ import annotations

from collections.abc import Iterator

from .cancel import CancelToken
from .errors import PromptError
from .history import Action, ObjectStates
from .lenses import Lenses
from .slice_features import SliceFeatureStore
from .state import ObjectState
from .stopping import StopRule
from .updates import SliceUpdate
from .views import update_of


class Following:
    """Follows the objects of one session."""

    def __init__(self, states: ObjectStates, lenses: Lenses, store: SliceFeatureStore) -> None:
        self._states = states
        self._lenses = lenses
        self._store = store

    def updates(
        self, object_id: str, span: tuple[int, int], rule: StopRule, cancel: CancelToken | None
    ) -> Iterator[SliceUpdate]:
        """See `VolumeSession.propagate`.

        An object that reaches the edge of its field of view is begun again through a wider one; its slices are then
        handed out once more, and `done` starts over.

        Args:
            span: first and last position, a prompted one between them.
        """
        shown = self._states.known(object_id)
        following: ObjectState | None = self._lenses.settled(shown)
        if not following.conditioning:
            raise PromptError("Nothing says where the object is yet; give a positive point, a box or a mask first.")
        # One step for undo, whatever happens in it.
        recorded = False
        while following is not None:
            state, following = following, None
            if state is not shown:
                recorded = self._record(object_id, state, recorded)
            prompted = [position for position in state.conditioning if span[0] <= position <= span[1]]
            total = span[1] - span[0] + 1
            if state.field != shown.field:  # the other prompted slices were answered anew, too
                outside = [position for position in state.prompted if not span[0] <= position <= span[1]]
                prompted, total = prompted + outside, total + len(outside)
            for number, position in enumerate(prompted):
                if cancel is not None and cancel.cancelled:
                    return
                yield update_of(object_id, state, shown, position, self._store, number + 1, total)
                if self._states.get(object_id) is not state:
                    return
            for progress in self._lenses.through(state).tracker.track(state, span, rule, cancel):
                following = self._lenses.widened(state, progress.results.values())
                if following is not None:
                    break
                shown, state = state, state.with_results(progress.results)
                recorded = self._record(object_id, state, recorded)
                done, total = progress.done + len(prompted), progress.total + len(prompted)
                for position, result in progress.results.items():
                    update = update_of(object_id, state, shown, position, self._store, done, total)
                    if result.memory is None and update.box is None:
                        continue  # beyond the object's end, and empty before
                    yield update
                    if self._states.get(object_id) is not state:
                        return
            shown = state

    def _record(self, object_id: str, state: ObjectState, recorded: bool) -> bool:
        """A new state of this propagation; True."""
        if recorded:
            self._states.advance(object_id, state)
        else:
            self._states.commit(object_id, state, Action.PROPAGATION)
        return True
